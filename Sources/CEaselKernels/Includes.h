// System headers, included before any instruction set's attribute applies.
#pragma once
#include "include/CEaselKernels.h"

#include <math.h>
#include <string.h>
