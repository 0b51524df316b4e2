// A thread pool whose threads stay awake for a moment between calls.
//
// Starting a thread, or waking one that sleeps, takes 20 to 50 us on a virtual machine, and an
// image of 256 x 256 pixels takes little more than a millisecond. So threads are kept, and spin for
// a tenth of a millisecond before they sleep. A forked process, which has none of its parent's
// threads, starts a pool of its own. Nobody waits for sleeping threads at exit. parallel.h divides
// a loop among the threads, team.h runs stages one after the other with work stealing between
// members, and shares.h divides the threads among calls.
#pragma once

#include <memory>

namespace nucleiseg::cpu {

// Calls work() on this thread, and on up to `threads` - 1 others as soon as they are there. Returns
// when all that began have ended; whoever has not begun when this thread's call ends never does. So
// any number of members must be able to do all of it. `work` must not throw.
void together(int threads, void (*work)(void*), void* argument);

template <class Work>
void together(int threads, Work& work) {
  together(
      threads, [](void* argument) { (*static_cast<Work*>(argument))(); }, std::addressof(work));
}

}  // namespace nucleiseg::cpu
