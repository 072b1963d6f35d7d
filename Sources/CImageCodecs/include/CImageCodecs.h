/// PNG and JPEG through libpng and libjpeg: bytes in, pixels or an error out.
///
/// Both libraries report errors by longjmp, which must not cross Swift frames; it stays inside this target.
/// Every function returns true on success. On failure it returns false and leaves a zero-terminated sentence in `error`.
/// Pixels are 8-bit, row-major and interleaved: 1 channel (grey) or 3 (red, green, blue).
#ifndef EASEL_IMAGE_CODECS_H
#define EASEL_IMAGE_CODECS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint32_t width;
  uint32_t height;
  uint32_t channels;
} easel_image_info;

typedef struct {
  char *text;
  size_t capacity;
} easel_error_buffer;

/// Size and channels that decoding will give, from the file's header alone.
/// Files that announce more than `maximum_pixels` are refused.
bool easel_png_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error);

/// Decodes into `pixels`, which holds width x height x channels bytes as `easel_png_info` told them.
/// Alpha is composed over `background` (the level of every channel); 16 bits become round(v / 257); gamma is ignored.
bool easel_png_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error);

/// Encodes without text or time chunks, so that equal pixels give equal bytes.
/// `*encoded` is to be released with `easel_png_free`.
bool easel_png_encode(const uint8_t *pixels, const easel_image_info *info, uint8_t **encoded, size_t *encoded_count,
                      easel_error_buffer error);

void easel_png_free(uint8_t *encoded);

/// Whether this build can read JPEG.
bool easel_jpeg_is_available(void);

/// As `easel_png_info`. CMYK files are refused.
bool easel_jpeg_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error);

/// As `easel_png_decode`; the EXIF orientation is not applied. Damaged and truncated files are errors.
bool easel_jpeg_decode(const uint8_t *bytes, size_t count, const easel_image_info *info, uint8_t *pixels,
                       easel_error_buffer error);

#ifdef __cplusplus
}
#endif

#endif
