#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

// Fast enough to write a grid at every milestone; higher levels save a few percent of size for several times the work.
enum { COMPRESSION_LEVEL = 6 };

static void png_stop(png_structp png, png_const_charp message) {
  easel_error_buffer *error = png_get_error_ptr(png);
  easel_fail(*error, "%s", message);
  png_longjmp(png, 1);
}

static void png_ignore_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading

// Everything that must survive a longjmp is stored here, outside the frame that calls setjmp.
typedef struct {
  png_structp png;
  png_infop info;
  easel_error_buffer error;
  const uint8_t *bytes;
  size_t remaining;
  uint8_t *rows;
} png_reader;

static void png_take_bytes(png_structp png, png_bytep target, size_t count) {
  png_reader *reader = png_get_io_ptr(png);
  if (count > reader->remaining) {
    png_error(png, "the file ends too early");
  }
  memcpy(target, reader->bytes, count);
  reader->bytes += count;
  reader->remaining -= count;
}

// libpng clears memory for the full length that a chunk announces before it reads any of it.
static bool png_chunks_end_in_file(const png_reader *reader) {
  const uint8_t *bytes = reader->bytes;
  for (size_t offset = 8; offset + 8 <= reader->remaining;) {
    size_t length = (size_t)png_get_uint_32(bytes + offset) + 12;
    if (length > reader->remaining - offset) {
      return easel_fail(reader->error, "the file ends too early");
    }
    if (memcmp(bytes + offset + 4, "IEND", 4) == 0) {
      break;
    }
    offset += length;
  }
  return true;
}

static bool png_reader_open(png_reader *reader) {
  if (!png_chunks_end_in_file(reader)) {
    return false;
  }
  reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader->error, png_stop, png_ignore_warning);
  if (reader->png == NULL) {
    return easel_fail(reader->error, "libpng could not be started");
  }
  reader->info = png_create_info_struct(reader->png);
  if (reader->info == NULL) {
    return easel_fail(reader->error, "out of memory");
  }
  png_set_read_fn(reader->png, reader, png_take_bytes);
  png_set_crc_action(reader->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  // Text, profiles and unknown chunks are skipped: a small file may hold gigabytes of them, compressed.
  png_set_keep_unknown_chunks(reader->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  return true;
}

static void png_reader_close(png_reader *reader) {
  free(reader->rows);
  png_destroy_read_struct(&reader->png, &reader->info, NULL);
}

static void png_describe(const png_reader *reader, easel_image_info *info) {
  info->width = png_get_image_width(reader->png, reader->info);
  info->height = png_get_image_height(reader->png, reader->info);
  info->channels = (png_get_color_type(reader->png, reader->info) & PNG_COLOR_MASK_COLOR) ? 3 : 1;
  uint64_t pixels = (uint64_t)info->width * info->height;
  info->memory = pixels * info->channels;
  // Rows are kept as they are stored: with alpha, after it is expanded.
  if (png_get_interlace_type(reader->png, reader->info) != PNG_INTERLACE_NONE) {
    info->memory += pixels * (info->channels + 1) * (png_get_bit_depth(reader->png, reader->info) == 16 ? 2 : 1);
  }
}

static bool png_read_header(png_reader *reader, uint64_t maximum_pixels, easel_image_info *info) {
  if (setjmp(png_jmpbuf(reader->png))) {
    return false;
  }
  png_read_info(reader->png, reader->info);
  png_describe(reader, info);
  return easel_check_size(info->width, info->height, maximum_pixels, reader->error);
}

static inline uint8_t compose16(uint64_t value, uint64_t alpha, uint64_t background) {
  // In units of 1/65535 of a 16-bit level; dividing once by 65535 x 257 avoids rounding twice.
  uint64_t composed = value * alpha + background * 257 * (65535 - alpha);
  uint64_t divisor = 65535ull * 257ull;
  return (uint8_t)((composed + divisor / 2) / divisor);
}

static inline uint32_t sample16(const uint8_t *row, size_t index) {
  return (uint32_t)row[2 * index] << 8 | row[2 * index + 1];
}

// `stored` counts the samples of a pixel in `row`: those of the target, and one more if there is alpha.
static void png_convert_row(const uint8_t *row, int depth, size_t stored, const easel_image_info *info,
                            uint8_t background, uint8_t *target) {
  size_t channels = info->channels;
  bool has_alpha = stored > channels;
  for (size_t x = 0; x < info->width; x++) {
    size_t pixel = x * stored;
    uint32_t opaque = depth == 16 ? 65535 : 255;
    uint32_t alpha = opaque;
    if (has_alpha) {
      alpha = depth == 16 ? sample16(row, pixel + channels) : row[pixel + channels];
    }
    for (size_t channel = 0; channel < channels; channel++) {
      target[x * channels + channel] = depth == 16 ? compose16(sample16(row, pixel + channel), alpha, background)
                                                   : easel_compose(row[pixel + channel], alpha, background);
    }
  }
}

static bool png_read_pixels(png_reader *reader, uint8_t background, const easel_image_info *expected,
                            uint8_t *pixels) {
  if (setjmp(png_jmpbuf(reader->png))) {
    return false;
  }
  png_structp png = reader->png;
  png_read_info(png, reader->info);
  easel_image_info info;
  png_describe(reader, &info);
  if (info.width != expected->width || info.height != expected->height || info.channels != expected->channels) {
    png_error(png, "the header differs from the one read before");
  }
  png_set_expand(png);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);

  size_t row_bytes = png_get_rowbytes(png, reader->info);
  size_t stored = png_get_channels(png, reader->info);
  int depth = png_get_bit_depth(png, reader->info);
  // An interlaced row is complete only in the last pass, so all rows are kept until then.
  bool keeps_rows = passes > 1;
  reader->rows = calloc(keeps_rows ? info.height : 1, row_bytes);
  if (reader->rows == NULL) {
    png_error(png, "out of memory");
  }
  for (int pass = 0; pass < passes; pass++) {
    for (size_t y = 0; y < info.height; y++) {
      uint8_t *row = reader->rows + (keeps_rows ? y * row_bytes : 0);
      png_read_row(png, row, NULL);
      if (pass == passes - 1) {
        png_convert_row(row, depth, stored, &info, background, pixels + y * info.width * info.channels);
      }
    }
  }
  // Reads on to IEND, to find a truncated tail and wrong checksums after the last row.
  png_read_end(png, NULL);
  return true;
}

bool easel_png_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error) {
  png_reader reader = {.error = error, .bytes = bytes, .remaining = count};
  bool succeeded = png_reader_open(&reader) && png_read_header(&reader, maximum_pixels, info);
  png_reader_close(&reader);
  return succeeded;
}

bool easel_png_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error) {
  png_reader reader = {.error = error, .bytes = bytes, .remaining = count};
  bool succeeded = png_reader_open(&reader) && png_read_pixels(&reader, background, info, pixels);
  png_reader_close(&reader);
  return succeeded;
}

// ---------------------------------------------------------------------------------------------------------------------
// Writing

typedef struct {
  png_structp png;
  png_infop info;
  easel_error_buffer error;
  uint8_t *bytes;
  size_t count;
  size_t capacity;
} png_writer;

static void png_append_bytes(png_structp png, png_bytep source, size_t count) {
  png_writer *writer = png_get_io_ptr(png);
  if (count > writer->capacity - writer->count) {
    size_t capacity = 2 * writer->capacity + count;
    uint8_t *grown = realloc(writer->bytes, capacity);
    if (grown == NULL) {
      png_error(png, "out of memory");
    }
    writer->bytes = grown;
    writer->capacity = capacity;
  }
  memcpy(writer->bytes + writer->count, source, count);
  writer->count += count;
}

static void png_nothing_to_flush(png_structp png) { (void)png; }

static bool png_write_pixels(png_writer *writer, const uint8_t *pixels, const easel_image_info *info) {
  if (setjmp(png_jmpbuf(writer->png))) {
    return false;
  }
  png_structp png = writer->png;
  png_set_write_fn(png, writer, png_append_bytes, png_nothing_to_flush);
  png_set_compression_level(png, COMPRESSION_LEVEL);
  png_set_IHDR(png, writer->info, info->width, info->height, 8,
               info->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, writer->info);
  for (size_t y = 0; y < info->height; y++) {
    png_write_row(png, pixels + y * info->width * info->channels);
  }
  png_write_end(png, NULL);
  return true;
}

bool easel_png_encode(const uint8_t *pixels, const easel_image_info *info, uint8_t **encoded, size_t *encoded_count,
                      easel_error_buffer error) {
  png_writer writer = {.error = error};
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer.error, png_stop, png_ignore_warning);
  if (writer.png == NULL) {
    return easel_fail(error, "libpng could not be started");
  }
  writer.info = png_create_info_struct(writer.png);
  bool succeeded = writer.info != NULL ? png_write_pixels(&writer, pixels, info) : easel_fail(error, "out of memory");
  png_destroy_write_struct(&writer.png, &writer.info);
  if (!succeeded) {
    free(writer.bytes);
    return false;
  }
  *encoded = writer.bytes;
  *encoded_count = writer.count;
  return true;
}

void easel_png_free(uint8_t *encoded) { free(encoded); }
