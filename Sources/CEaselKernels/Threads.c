// The pool of compute threads: see CEaselKernels.h.
//
// Threads claim the parts of a region by compare-and-swap on one word, which holds the region's number and the parts that
// are left. The caller takes parts from the front and the workers from the back, so that each returns to the memory that
// it worked on in the previous region. The caller waits only for claimed parts. A worker that sleeps through a region,
// because the system has given its processor to another program, costs nothing.
//
// A worker reads everything about a region before its claim succeeds. If the claim succeeds, the region still had a part
// left, so the caller had not yet begun to write the next region.
#define _GNU_SOURCE
#include "include/CEaselKernels.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef void part_body(void *context, int part, int worker);

enum {
  // A cache line, and the one that is fetched with it.
  LINE = 128,
  // How long a worker looks for work before it sleeps, in nanoseconds: longer than the time between two regions of a
  // training step; and the same while other programs share the processors.
  PATIENCE = 200000,
  SHARED_PATIENCE = 20000,
  // How long the caller looks for the end of the last parts before it gives up its processor.
  WAIT = 50000,
  // How long a worker works before it offers its processor to other programs, at a moment when it holds no part. It is
  // less than the system's own time slice, so that a worker is seldom suspended in the middle of a part.
  TURN = 1000000,
  // If the offer takes this long, another program has run.
  AWAY = 100000,
  // How long the processors count as shared after that.
  MEMORY = 100000000,
};

struct worker {
  _Alignas(LINE) _Atomic uint32_t asleep;  // a futex
  int number;
  int64_t turn_began, shared_until;
};

static struct {
  // Read and written by all threads at each claim: the region's number, the first part that is left, and the last + 1.
  _Alignas(LINE) _Atomic uint64_t left;
  // The number of parts that workers have finished; a futex while the caller sleeps.
  _Alignas(LINE) _Atomic uint32_t finished;
  _Atomic uint32_t caller_waits;
  // The region, written by the caller.
  _Alignas(LINE) _Atomic(part_body *) body;
  _Atomic(void *) context;
  _Atomic int width;
  uint32_t number;
  // Set during a region: there is only one at a time.
  _Alignas(LINE) atomic_flag busy;
  struct worker workers[EASEL_MOST_THREADS];
  int started;
} pool = {.busy = ATOMIC_FLAG_INIT};

// This thread's worker number, and whether it is working on a part.
static _Thread_local int this_worker;
static _Thread_local bool is_working;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static uint64_t pack(uint32_t number, uint32_t first, uint32_t last) {
  return (uint64_t)number << 32 | (uint64_t)first << 16 | last;
}
static uint32_t first_of(uint64_t left) { return (uint32_t)(left >> 16) & 0xffff; }
static uint32_t last_of(uint64_t left) { return (uint32_t)left & 0xffff; }

// Takes a worker's next part and does it; false if there is none for it.
static bool work(struct worker *self) {
  uint64_t left = atomic_load_explicit(&pool.left, memory_order_acquire);
  part_body *body;
  void *context;
  do {
    if (first_of(left) == last_of(left)) return false;
    body = atomic_load_explicit(&pool.body, memory_order_relaxed);
    context = atomic_load_explicit(&pool.context, memory_order_relaxed);
    if (self->number >= atomic_load_explicit(&pool.width, memory_order_relaxed)) return false;
  } while (!atomic_compare_exchange_weak_explicit(&pool.left, &left, left - 1, memory_order_acq_rel,
                                                  memory_order_acquire));
  body(context, (int)last_of(left) - 1, self->number);
  atomic_fetch_add_explicit(&pool.finished, 1, memory_order_seq_cst);
  if (atomic_load_explicit(&pool.caller_waits, memory_order_seq_cst)) futex_wake(&pool.finished);
  return true;
}

// Wakes a worker; false if it does not sleep.
static bool wake(int number) {
  struct worker *worker = &pool.workers[number];
  if (!atomic_load_explicit(&worker->asleep, memory_order_seq_cst) ||
      !atomic_exchange_explicit(&worker->asleep, 0, memory_order_seq_cst))
    return false;
  futex_wake(&worker->asleep);
  return true;
}

// Wakes two sleeping workers, each of which wakes two more: one thread that woke many would take as long as the work.
static void wake_two(int width) {
  for (int number = 1, woken = 0; number < width && woken < 2; number++) woken += wake(number);
}

static bool has_work(const struct worker *self) {
  const uint64_t left = atomic_load_explicit(&pool.left, memory_order_seq_cst);
  return first_of(left) != last_of(left) &&
         self->number < atomic_load_explicit(&pool.width, memory_order_relaxed);
}

static void *worker_main(void *argument) {
  struct worker *self = argument;
  this_worker = self->number;
  is_working = true;  // true whenever the worker calls something that could ask
  prctl(PR_SET_NAME, "easel-worker");
  self->turn_began = now();
  while (true) {
    // Works.
    while (work(self)) {
      const int64_t time = now();
      if (time - self->turn_began < TURN) continue;
      sched_yield();
      self->turn_began = now();
      if (self->turn_began - time > AWAY) self->shared_until = self->turn_began + MEMORY;
    }
    // Looks for more.
    const int64_t began = now();
    const int64_t patience = began < self->shared_until ? SHARED_PATIENCE : PATIENCE;
    bool found = false;
    while (!found && now() - began < patience)
      for (int i = 0; i < 32 && !(found = has_work(self)); i++) relax();
    if (found) continue;
    // Sleeps. A caller with work after this store sees it; work from before it is seen here.
    atomic_store_explicit(&self->asleep, 1, memory_order_seq_cst);
    if (has_work(self)) {
      atomic_store_explicit(&self->asleep, 0, memory_order_seq_cst);
      continue;
    }
    while (atomic_load_explicit(&self->asleep, memory_order_seq_cst)) futex_wait(&self->asleep, 1);
    self->turn_began = now();
    if (has_work(self)) wake_two(atomic_load_explicit(&pool.width, memory_order_relaxed));
  }
  return NULL;
}

// Starts workers until there are `width` threads with the caller. Workers receive only the signals of their own faults;
// the others are for the threads that the program knows of.
static int start_workers(int width) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  sigset_t all, before;
  sigfillset(&all);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&all, own[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool.started + 1 < width) {
    struct worker *worker = &pool.workers[pool.started + 1];
    worker->number = pool.started + 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker_main, worker) != 0) break;  // go on with the threads there are
    pthread_detach(thread);
    pool.started++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool.started + 1 < width ? pool.started + 1 : width;
}

int easel_current_worker(void) { return this_worker; }

uint64_t easel_affinity(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (size_t i = 0; i < sizeof set; i++) hash = (hash ^ ((const unsigned char *)&set)[i]) * 0x100000001b3;
  return hash;
}

void easel_parallel(int width, int parts, part_body *body, void *context) {
  if (width > EASEL_MOST_THREADS) width = EASEL_MOST_THREADS;
  // A nested call, and a call on another thread at the same time, does its work on its own thread.
  const bool was_working = is_working;
  is_working = true;
  if (was_working || width <= 1 || parts <= 1 ||
      atomic_flag_test_and_set_explicit(&pool.busy, memory_order_acquire)) {
    for (int part = 0; part < parts; part++) body(context, part, this_worker);
    is_working = was_working;
    return;
  }
  if (pool.started + 1 < width) width = start_workers(width);
  const uint32_t number = ++pool.number;
  atomic_store_explicit(&pool.body, body, memory_order_relaxed);
  atomic_store_explicit(&pool.context, context, memory_order_relaxed);
  atomic_store_explicit(&pool.width, width, memory_order_relaxed);
  atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
  atomic_store_explicit(&pool.left, pack(number, 0, (uint32_t)parts), memory_order_seq_cst);
  wake_two(width < parts ? width : parts);

  uint32_t mine = 0;
  uint64_t left = atomic_load_explicit(&pool.left, memory_order_relaxed);
  while (first_of(left) != last_of(left)) {
    if (!atomic_compare_exchange_weak_explicit(&pool.left, &left, left + (1 << 16), memory_order_acq_rel,
                                               memory_order_acquire))
      continue;
    body(context, (int)first_of(left), 0);
    mine++;
    left = atomic_load_explicit(&pool.left, memory_order_relaxed);
  }

  const uint32_t others = (uint32_t)parts - mine;
  uint32_t finished = atomic_load_explicit(&pool.finished, memory_order_acquire);
  if (finished != others) {
    const int64_t began = now();
    while (finished != others && now() - began < WAIT)
      for (int i = 0; i < 32 && finished != others; i++) {
        relax();
        finished = atomic_load_explicit(&pool.finished, memory_order_acquire);
      }
    if (finished != others) {
      atomic_store_explicit(&pool.caller_waits, 1, memory_order_seq_cst);
      while ((finished = atomic_load_explicit(&pool.finished, memory_order_seq_cst)) != others)
        futex_wait(&pool.finished, finished);
      atomic_store_explicit(&pool.caller_waits, 0, memory_order_relaxed);
    }
  }
  atomic_flag_clear_explicit(&pool.busy, memory_order_release);
  is_working = false;
}
