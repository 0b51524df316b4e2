// Threads that wait for work from one call to the next.
//
// To start a thread, or to wake one that sleeps, takes 20 to 50 us on a virtual machine, and an
// image of 256 x 256 pixels takes little more than a millisecond. So threads are kept, and one that
// is done looks out for more before it sleeps. A forked process, which has none of its parent's
// threads, begins anew. Nobody waits for sleeping threads at exit.
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
