#include "error.h"

#ifdef EASEL_HAS_WEBP

#include <stdlib.h>
#include <webp/decode.h>

static bool webp_describe(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                          bool *has_alpha, easel_error_buffer error) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes, count, &features) != VP8_STATUS_OK) {
    return easel_fail(error, "the header is damaged or cut short");
  }
  if (features.has_animation) {
    return easel_fail(error, "is an animation; single pictures are read");
  }
  // Sizes have at most 14 bits.
  *info = (easel_image_info){.width = (uint32_t)features.width, .height = (uint32_t)features.height, .channels = 3};
  *has_alpha = features.has_alpha;
  // With alpha or lossless compression, the decoder assembles the image with four bytes per pixel.
  info->memory = (uint64_t)info->width * info->height * 7;
  return easel_check_size(info->width, info->height, maximum_pixels, error);
}

bool easel_webp_is_available(void) { return true; }

bool easel_webp_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error) {
  bool has_alpha;
  return webp_describe(bytes, count, maximum_pixels, info, &has_alpha, error);
}

bool easel_webp_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                       uint8_t *pixels, easel_error_buffer error) {
  easel_image_info found;
  bool has_alpha;
  size_t area = (size_t)info->width * info->height;
  if (!webp_describe(bytes, count, area, &found, &has_alpha, error)) {
    return false;
  }
  if (found.width != info->width || found.height != info->height) {
    return easel_fail(error, "the header differs from the one read before");
  }
  if (!has_alpha) {
    return WebPDecodeRGBInto(bytes, count, pixels, area * 3, (int)info->width * 3) != NULL ||
           easel_fail(error, "is damaged or cut short");
  }
  uint8_t *colors = malloc(area * 4);
  if (colors == NULL) {
    return easel_fail(error, "out of memory");
  }
  bool succeeded = WebPDecodeRGBAInto(bytes, count, colors, area * 4, (int)info->width * 4) != NULL ||
                   easel_fail(error, "is damaged or cut short");
  for (size_t place = 0; succeeded && place < area * 3; place++) {
    const uint8_t *color = colors + place / 3 * 4;
    pixels[place] = easel_compose(color[place % 3], color[3], background);
  }
  free(colors);
  return succeeded;
}

#else

bool easel_webp_is_available(void) { return false; }

bool easel_webp_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error) {
  (void)bytes, (void)count, (void)maximum_pixels, (void)info;
  return easel_is_missing("WebP", "libwebp-dev", error);
}

bool easel_webp_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                       uint8_t *pixels, easel_error_buffer error) {
  (void)bytes, (void)count, (void)background, (void)info, (void)pixels;
  return easel_is_missing("WebP", "libwebp-dev", error);
}

#endif
