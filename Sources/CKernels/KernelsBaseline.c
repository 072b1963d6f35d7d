// The kernels for what every x86-64 processor has.
#include "Includes.h"

#define EASEL_TABLE easel_kernels_baseline
#include "Kernels.inc"
