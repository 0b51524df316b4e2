"""What all tests share."""

import signal

# A shell that starts tests in the background has them ignore Ctrl-C, and so would every program
# that they start. What has a handler is reset to the default instead.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
