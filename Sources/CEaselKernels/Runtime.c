// Memory and the choice of an instruction set.
#include "include/CEaselKernels.h"

#include <sys/mman.h>
#include <unistd.h>

void *easel_reserve(size_t bytes) {
  void *address = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

bool easel_commit(void *address, size_t bytes) {
  if (mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  madvise(address, bytes, MADV_HUGEPAGE);  // only a hint: it does not matter if the system has none
  return true;
}

void easel_unreserve(void *address, size_t bytes) { munmap(address, bytes); }

// The bytes between an address, or a position in a file, and the beginning of its page.
static size_t past_page(size_t position) { return position % (size_t)sysconf(_SC_PAGESIZE); }

void *easel_map_file(int descriptor, size_t start, size_t bytes) {
  const size_t past = past_page(start);
  char *pages = mmap(NULL, past + bytes, PROT_READ, MAP_PRIVATE, descriptor, (off_t)(start - past));
  return pages == MAP_FAILED ? NULL : pages + past;
}

void easel_evict(void *address, size_t bytes) {
  const size_t past = past_page((uintptr_t)address);
  madvise((char *)address - past, past + bytes, MADV_DONTNEED);  // only a hint
}

void easel_unmap_file(void *address, size_t bytes) {
  const size_t past = past_page((uintptr_t)address);
  munmap((char *)address - past, past + bytes);
}

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
