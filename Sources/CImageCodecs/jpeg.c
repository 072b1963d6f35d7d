#include "error.h"

#ifdef EASEL_HAS_JPEG

// jpeglib.h uses FILE and size_t without including their headers; error.h has them.
#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>

// What must survive a longjmp lives here, outside the frame that calls setjmp.
typedef struct {
  struct jpeg_decompress_struct decompressor;
  struct jpeg_error_mgr manager;
  easel_error_buffer error;
  jmp_buf escape;
} jpeg_reader;

_Noreturn static void jpeg_stop(j_common_ptr common) {
  jpeg_reader *reader = common->client_data;
  char message[JMSG_LENGTH_MAX];
  reader->manager.format_message(common, message);
  easel_fail(reader->error, "%s", message);
  longjmp(reader->escape, 1);
}

// libjpeg fills what is missing with grey and calls it a warning; here damage is an error. Harmless warnings
// (unknown markers, stray bytes between segments) pass.
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

static void jpeg_describe(const jpeg_reader *reader, easel_image_info *info) {
  info->width = reader->decompressor.image_width;
  info->height = reader->decompressor.image_height;
  info->channels = reader->decompressor.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
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
  if (decompressor->jpeg_color_space == JCS_CMYK || decompressor->jpeg_color_space == JCS_YCCK) {
    return easel_fail(reader->error, "is a CMYK JPEG; grey and RGB are read (convert it first)");
  }
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
  decompressor->out_color_space = found.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(decompressor);
  while (decompressor->output_scanline < decompressor->output_height) {
    JSAMPROW row = pixels + (size_t)decompressor->output_scanline * found.width * found.channels;
    jpeg_read_scanlines(decompressor, &row, 1);
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
  bool succeeded = jpeg_read(&reader, bytes, count, maximum_pixels, info, pixels);
  jpeg_destroy_decompress(&reader.decompressor);
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

static bool jpeg_is_missing(easel_error_buffer error) {
  return easel_fail(error, "is a JPEG, and this build has no JPEG reader (install libjpeg-dev and build again)");
}

bool easel_jpeg_is_available(void) { return false; }

bool easel_jpeg_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                     easel_error_buffer error) {
  (void)bytes, (void)count, (void)maximum_pixels, (void)info;
  return jpeg_is_missing(error);
}

bool easel_jpeg_decode(const uint8_t *bytes, size_t count, const easel_image_info *info, uint8_t *pixels,
                       easel_error_buffer error) {
  (void)bytes, (void)count, (void)info, (void)pixels;
  return jpeg_is_missing(error);
}

#endif
