// Runs the pool of compute threads under ThreadSanitizer:
//
//   gcc -std=gnu17 -O1 -g -fsanitize=thread -ISources/CEaselKernels/include Tests/Harness/threads_check.c
//       Sources/CEaselKernels/Threads.c -lpthread -o threads_check            (one line, from the root; Swift's clang needs
//                                                                         its libdispatch and libBlocksRuntime besides)
//   ./threads_check           exits with 1 if a part is left out or done twice, and with 66 if there is a data race
//
// The caller reads memory that parts wrote after the region, and the parts of the next region read memory that the caller
// wrote, without any atomics: this exposes a pool that does not order these accesses.
#include <CEaselKernels.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 200, WORKERS = 64 };

struct sums {
  long numbers[PARTS], results[PARTS], workers[WORKERS];
};

static void add(void *context, int part, int worker) {
  struct sums *sums = context;
  sums->results[part] += sums->numbers[part];
  sums->workers[worker]++;
}

static void nested(void *context, int part, int worker) {
  struct sums *inner = calloc(1, sizeof *inner);
  easel_parallel(3, PARTS, add, inner);
  if (inner->workers[worker] != PARTS) {
    printf("FAILED: work within a part was done by another worker\n");
    exit(1);
  }
  free(inner);
  add(context, part, worker);
}

// The sum of the results of all parts, over successive regions of all widths and lengths.
static void *regions(void *argument) {
  struct sums *sums = calloc(1, sizeof *sums);
  const int count = *(const int *)argument;
  long expected = 0, found = 0, done = 0, claimed = 0;
  for (int region = 0; region < count; region++) {
    static const int widths[] = {1, 2, 3, 8, WORKERS};
    const int parts = 1 + region % PARTS;
    for (int i = 0; i < parts; i++) {
      sums->numbers[i] = region + i;
      expected += region + i;
    }
    easel_parallel(widths[region % 5], parts, region % 50 == 49 ? nested : add, sums);
    done += parts;
    for (int i = 0; i < parts; i++) {
      found += sums->results[i];
      sums->results[i] = 0;
    }
  }
  for (int i = 0; i < WORKERS; i++) claimed += sums->workers[i];
  free(sums);
  if (found != expected || claimed != done) {
    printf("FAILED: %ld parts in %ld turns, sum %ld, expected %ld\n", done, claimed, found, expected);
    exit(1);
  }
  return NULL;
}

int main(void) {
  int many = 3000, few = 500;
  regions(&many);
  pthread_t others[3];
  for (int i = 0; i < 3; i++) pthread_create(&others[i], NULL, regions, &few);
  regions(&few);
  for (int i = 0; i < 3; i++) pthread_join(others[i], NULL);
  printf("All parts were done once.\n");
  return 0;
}
