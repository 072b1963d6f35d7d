/// PNG, JPEG, WebP and GIF through libpng, libjpeg, libwebp and giflib: bytes in, pixels or an error out.
///
/// libpng and libjpeg report errors by longjmp, which must not cross Swift frames, so it stays inside this target.
/// Every function returns true on success. On failure it returns false and writes a zero-terminated sentence to `error`.
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
  /// The most bytes that decoding takes at a time, including the pixels.
  uint64_t memory;
} easel_image_info;

typedef struct {
  char *text;
  size_t capacity;
} easel_error_buffer;

/// The size and channels that decoding will give, from the file's header alone.
/// Files that announce more than `maximum_pixels` are refused.
bool easel_png_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error);

/// Decodes into `pixels`, which holds width x height x channels bytes, as `easel_png_info` returned them.
/// Alpha is composed over `background` (the level of every channel). 16-bit samples become round(v / 257).
/// Gamma is ignored.
bool easel_png_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error);

/// Encodes without text or time chunks, so that equal pixels give equal bytes.
/// The caller releases `*encoded` with `easel_png_free`.
bool easel_png_encode(const uint8_t *pixels, const easel_image_info *info, uint8_t **encoded, size_t *encoded_count,
                      easel_error_buffer error);

void easel_png_free(uint8_t *encoded);

/// Whether this build can read JPEG.
bool easel_jpeg_is_available(void);

/// As `easel_png_info`.
bool easel_jpeg_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error);

/// As `easel_png_decode`. CMYK becomes RGB without a colour profile. Damaged and truncated files are errors, as are files
/// with more scans than any encoder writes.
bool easel_jpeg_decode(const uint8_t *bytes, size_t count, const easel_image_info *info, uint8_t *pixels,
                       easel_error_buffer error);

/// Whether this build can read WebP.
bool easel_webp_is_available(void);

/// As `easel_png_info`, always with 3 channels. Animations are refused.
bool easel_webp_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error);

/// As `easel_png_decode`.
bool easel_webp_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                       uint8_t *pixels, easel_error_buffer error);

/// Whether this build can read GIF.
bool easel_gif_is_available(void);

/// As `easel_png_info`, always with 3 channels.
bool easel_gif_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error);

/// As `easel_png_decode`, of the first frame.
bool easel_gif_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error);

#ifdef __cplusplus
}
#endif

#endif
