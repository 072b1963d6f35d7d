// Threads, memory and the choice of an instruction set.
#include "include/CKernels.h"

#include <sys/mman.h>

// The OpenMP runtime's own entry points: oneDNN's pool is used without asking the compiler for OpenMP.
extern void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern void omp_set_num_threads(int threads);

struct region {
  void (*body)(void *context, int thread, int threads);
  void *context;
};

static void enter_region(void *data) {
  const struct region *region = data;
  region->body(region->context, omp_get_thread_num(), omp_get_num_threads());
}

void easel_parallel(int threads, void (*body)(void *context, int thread, int threads), void *context) {
  struct region region = {body, context};
  GOMP_parallel(enter_region, &region, (unsigned)threads, 0);
}

void easel_set_threads(int threads) { omp_set_num_threads(threads); }

void *easel_reserve(size_t bytes) {
  void *address = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

bool easel_commit(void *address, size_t bytes) {
  if (mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  madvise(address, bytes, MADV_HUGEPAGE);  // a wish: it does not matter if the system has none
  return true;
}

void easel_unreserve(void *address, size_t bytes) { munmap(address, bytes); }

extern const easel_kernels easel_kernels_baseline, easel_kernels_avx2, easel_kernels_avx512, easel_kernels_avx512_bf16;

enum easel_isa easel_best_isa(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return __builtin_cpu_supports("avx512bf16") ? EASEL_AVX512_BF16 : EASEL_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return EASEL_AVX2;
#endif
  return EASEL_BASELINE;
}

const easel_kernels *easel_kernels_for(enum easel_isa isa) {
  switch (isa) {
    case EASEL_AVX512_BF16: return &easel_kernels_avx512_bf16;
    case EASEL_AVX512: return &easel_kernels_avx512;
    case EASEL_AVX2: return &easel_kernels_avx2;
    case EASEL_BASELINE: break;
  }
  return &easel_kernels_baseline;
}
