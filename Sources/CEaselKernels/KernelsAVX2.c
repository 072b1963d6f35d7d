// The kernels for AVX2 and FMA.
#include "Includes.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#endif
// The lanes of a vector, and the number of rows of a matrix product whose sums fill the registers.
#define EASEL_LANES 8
#define EASEL_ROWS 6
#define EASEL_TABLE easel_kernels_avx2
#include "Kernels.inc"
#if defined(__x86_64__)
#pragma clang attribute pop
#endif
