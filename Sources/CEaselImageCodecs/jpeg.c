#include "error.h"

#ifdef EASEL_HAS_JPEG

// jpeglib.h uses FILE and size_t without including their headers; error.h has them.
#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>

// Encoders write about ten; each scan of a file, however short, is a pass over the whole picture.
enum { MAXIMUM_SCANS = 32 };

// Everything that must survive a longjmp is stored here, outside the frame that calls setjmp.
typedef struct {
  struct jpeg_decompress_struct decompressor;
  struct jpeg_error_mgr manager;
  struct jpeg_progress_mgr progress;
  easel_error_buffer error;
  uint8_t *row;  // inks, four bytes per pixel
  jmp_buf escape;
} jpeg_reader;

_Noreturn static void jpeg_stop(j_common_ptr common) {
  jpeg_reader *reader = common->client_data;
  char message[JMSG_LENGTH_MAX];
  reader->manager.format_message(common, message);
  easel_fail(reader->error, "%s", message);
  longjmp(reader->escape, 1);
}

// libjpeg fills missing parts with grey and reports a warning; here, damage is an error. Harmless warnings (unknown
// markers, stray bytes between segments) pass.
static void jpeg_note(j_common_ptr common, int level) {
  if (level >= 0) {
    return;
  }
  switch (common->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
      jpeg_stop(common);
    default:
      break;
  }
}

static void jpeg_count_scans(j_common_ptr common) {
  jpeg_reader *reader = common->client_data;
  if (reader->decompressor.input_scan_number > MAXIMUM_SCANS) {
    easel_fail(reader->error, "has more than %d scans", MAXIMUM_SCANS);
    longjmp(reader->escape, 1);
  }
}

static void jpeg_describe(jpeg_reader *reader, easel_image_info *info) {
  struct jpeg_decompress_struct *decompressor = &reader->decompressor;
  info->width = decompressor->image_width;
  info->height = decompressor->image_height;
  info->channels = decompressor->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
  uint64_t pixels = (uint64_t)info->width * info->height;
  info->memory = pixels * info->channels;
  // Coefficients, two bytes each, are kept until the last scan.
  if (jpeg_has_multiple_scans(decompressor)) {
    info->memory += pixels * 2 * (uint64_t)decompressor->num_components;
  }
}

// Converts as Pillow does, without a profile. Inks are stored inverted, a convention that Adobe's programs began.
static void jpeg_convert_inks(const jpeg_reader *reader, size_t width, uint8_t *target) {
  for (size_t x = 0; x < width; x++) {
    uint32_t light = reader->row[4 * x + 3];
    for (size_t channel = 0; channel < 3; channel++) {
      uint32_t ink = 255 - reader->row[4 * x + channel];
      target[3 * x + channel] = (uint8_t)(light - (ink * light + 127) / 255);
    }
  }
}

static bool jpeg_read(jpeg_reader *reader, const uint8_t *bytes, size_t count, uint64_t maximum_pixels,
                      easel_image_info *info, uint8_t *pixels) {
  struct jpeg_decompress_struct *decompressor = &reader->decompressor;
  if (setjmp(reader->escape)) {
    return false;
  }
  jpeg_create_decompress(decompressor);
  jpeg_mem_src(decompressor, bytes, count);
  jpeg_read_header(decompressor, TRUE);
  easel_image_info found;
  jpeg_describe(reader, &found);
  if (!easel_check_size(found.width, found.height, maximum_pixels, reader->error)) {
    return false;
  }
  if (pixels == NULL) {
    *info = found;
    return true;
  }
  if (found.width != info->width || found.height != info->height || found.channels != info->channels) {
    return easel_fail(reader->error, "the header differs from the one read before");
  }
  bool has_inks = decompressor->jpeg_color_space == JCS_CMYK || decompressor->jpeg_color_space == JCS_YCCK;
  decompressor->out_color_space = has_inks ? JCS_CMYK : found.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  if (has_inks && (reader->row = malloc((size_t)found.width * 4)) == NULL) {
    return easel_fail(reader->error, "out of memory");
  }
  decompressor->progress = &reader->progress;
  jpeg_start_decompress(decompressor);
  while (decompressor->output_scanline < decompressor->output_height) {
    JSAMPROW row = pixels + (size_t)decompressor->output_scanline * found.width * found.channels;
    jpeg_read_scanlines(decompressor, has_inks ? &reader->row : &row, 1);
    if (has_inks) {
      jpeg_convert_inks(reader, found.width, row);
    }
  }
  jpeg_finish_decompress(decompressor);
  return true;
}

static bool jpeg_run(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     uint8_t *pixels, easel_error_buffer error) {
  jpeg_reader reader = {.error = error};
  reader.decompressor.err = jpeg_std_error(&reader.manager);
  reader.decompressor.client_data = &reader;
  reader.manager.error_exit = jpeg_stop;
  reader.manager.emit_message = jpeg_note;
  reader.progress.progress_monitor = jpeg_count_scans;
  bool succeeded = jpeg_read(&reader, bytes, count, maximum_pixels, info, pixels);
  jpeg_destroy_decompress(&reader.decompressor);
  free(reader.row);
  return succeeded;
}

bool easel_jpeg_is_available(void) { return true; }

bool easel_jpeg_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error) {
  return jpeg_run(bytes, count, maximum_pixels, info, NULL, error);
}

bool easel_jpeg_decode(const uint8_t *bytes, size_t count, const easel_image_info *info, uint8_t *pixels,
                       easel_error_buffer error) {
  easel_image_info expected = *info;
  return jpeg_run(bytes, count, (uint64_t)info->width * info->height, &expected, pixels, error);
}

#else

bool easel_jpeg_is_available(void) { return false; }

bool easel_jpeg_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error) {
  (void)bytes, (void)count, (void)maximum_pixels, (void)info;
  return easel_is_missing("JPEG", "libjpeg-dev", error);
}

bool easel_jpeg_decode(const uint8_t *bytes, size_t count, const easel_image_info *info, uint8_t *pixels,
                       easel_error_buffer error) {
  (void)bytes, (void)count, (void)info, (void)pixels;
  return easel_is_missing("JPEG", "libjpeg-dev", error);
}

#endif
