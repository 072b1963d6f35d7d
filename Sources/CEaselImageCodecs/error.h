#ifndef EASEL_IMAGE_CODECS_ERROR_H
#define EASEL_IMAGE_CODECS_ERROR_H

#include <stdarg.h>
#include <stdio.h>

#include "CEaselImageCodecs.h"

/// Writes a formatted sentence; returns false so that a failing function can end with it.
__attribute__((format(printf, 2, 3))) static inline bool easel_fail(easel_error_buffer error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error.text, error.capacity, format, arguments);
  va_end(arguments);
  return false;
}

/// Checks the announced size before anything is allocated for it.
static inline bool easel_check_size(uint64_t width, uint64_t height, uint64_t maximum_pixels,
                                    easel_error_buffer error) {
  // All formats keep sizes in at most 31 bits, so the product cannot overflow.
  if (width == 0 || height == 0 || width * height > maximum_pixels) {
    return easel_fail(error, "announces %llu x %llu pixels; between 1 and %llu are accepted",
                      (unsigned long long)width, (unsigned long long)height, (unsigned long long)maximum_pixels);
  }
  return true;
}

/// The failure of a codec that is not in this build.
static inline bool easel_is_missing(const char *kind, const char *package, easel_error_buffer error) {
  return easel_fail(error, "this build has no %s reader (install %s and build again)", kind, package);
}

/// One sample composed over the background; exact in integers, rounded to nearest.
static inline uint8_t easel_compose(uint32_t value, uint32_t alpha, uint32_t background) {
  return (uint8_t)((value * alpha + background * (255 - alpha) + 127) / 255);
}

#endif
