// The kernels for AVX-512 with conversions to bfloat16 (AVX512_BF16).
#include "Includes.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512bf16,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2"), min_vector_width(512))), apply_to = function)
#define EASEL_HAS_BF16
#endif
// The lanes of a vector, and the number of rows of a matrix product whose sums fill the registers.
#define EASEL_LANES 16
#define EASEL_ROWS 12
#define EASEL_TABLE easel_kernels_avx512_bf16
#include "Kernels.inc"
#if defined(__x86_64__)
#pragma clang attribute pop
#endif
