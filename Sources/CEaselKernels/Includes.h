// System headers, outside of any instruction set's attribute.
#pragma once
#include "include/CEaselKernels.h"

#include <math.h>
#include <string.h>
