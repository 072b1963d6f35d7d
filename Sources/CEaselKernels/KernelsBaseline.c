// The kernels for instructions that every x86-64 processor has.
#include "Includes.h"

// The lanes of a vector, and the number of rows of a matrix product whose sums fill the registers.
#define EASEL_LANES 4
#define EASEL_ROWS 4
#define EASEL_TABLE easel_kernels_baseline
#include "Kernels.inc"
