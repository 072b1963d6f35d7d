#include "error.h"

#ifdef EASEL_HAS_GIF

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t *bytes;
  size_t remaining;
  GifFileType *gif;
  uint8_t *row;
  easel_error_buffer error;
} gif_reader;

static int gif_take_bytes(GifFileType *gif, GifByteType *target, int count) {
  gif_reader *reader = gif->UserData;
  size_t taken = (size_t)count < reader->remaining ? (size_t)count : reader->remaining;
  memcpy(target, reader->bytes, taken);
  reader->bytes += taken;
  reader->remaining -= taken;
  return (int)taken;
}

static bool gif_stop(const gif_reader *reader, int code) {
  const char *text = GifErrorString(code);
  return easel_fail(reader->error, "is damaged or cut short (%s)", text != NULL ? text : "no reason given");
}

static bool gif_open(gif_reader *reader, uint64_t maximum_pixels, easel_image_info *info) {
  int code = 0;
  reader->gif = DGifOpen(reader, gif_take_bytes, &code);
  if (reader->gif == NULL) {
    return gif_stop(reader, code);
  }
  *info = (easel_image_info){
      .width = (uint32_t)reader->gif->SWidth, .height = (uint32_t)reader->gif->SHeight, .channels = 3};
  info->memory = (uint64_t)info->width * info->height * 3;
  return easel_check_size(info->width, info->height, maximum_pixels, reader->error);
}

static void gif_close(gif_reader *reader) {
  free(reader->row);
  if (reader->gif != NULL) {
    DGifCloseFile(reader->gif, NULL);
  }
}

// Goes to the first frame. `transparent` becomes -1 if there is no transparent colour.
static bool gif_find_frame(gif_reader *reader, int *transparent) {
  GifFileType *gif = reader->gif;
  *transparent = NO_TRANSPARENT_COLOR;
  for (;;) {
    GifRecordType type;
    if (DGifGetRecordType(gif, &type) != GIF_OK) {
      return gif_stop(reader, gif->Error);
    }
    if (type == IMAGE_DESC_RECORD_TYPE) {
      return DGifGetImageDesc(gif) == GIF_OK || gif_stop(reader, gif->Error);
    }
    if (type == TERMINATE_RECORD_TYPE) {
      return easel_fail(reader->error, "has no frame");
    }
    if (type != EXTENSION_RECORD_TYPE) {
      continue;
    }
    int function;
    GifByteType *block;
    int status = DGifGetExtension(gif, &function, &block);
    while (status == GIF_OK && block != NULL) {
      GraphicsControlBlock control;
      if (function == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
        *transparent = control.TransparentColor;
      }
      status = DGifGetExtensionNext(gif, &block);
    }
    if (status != GIF_OK) {
      return gif_stop(reader, gif->Error);
    }
  }
}

static bool gif_read_frame(gif_reader *reader, const easel_image_info *info, uint8_t background, uint8_t *pixels) {
  int transparent;
  if (!gif_find_frame(reader, &transparent)) {
    return false;
  }
  const GifImageDesc *frame = &reader->gif->Image;
  const ColorMapObject *palette = frame->ColorMap != NULL ? frame->ColorMap : reader->gif->SColorMap;
  if (palette == NULL) {
    return easel_fail(reader->error, "has no palette");
  }
  if (frame->Width <= 0 || frame->Height <= 0 || (uint32_t)frame->Left + (uint32_t)frame->Width > info->width ||
      (uint32_t)frame->Top + (uint32_t)frame->Height > info->height) {
    return easel_fail(reader->error, "its first frame does not lie inside of the picture");
  }
  reader->row = malloc((size_t)frame->Width);
  if (reader->row == NULL) {
    return easel_fail(reader->error, "out of memory");
  }
  // Pixels outside the frame count as transparent.
  memset(pixels, background, (size_t)info->width * info->height * 3);
  static const struct {
    int first, step;
  } interlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (int pass = 0; pass < (frame->Interlace ? 4 : 1); pass++) {
    int step = frame->Interlace ? interlaced[pass].step : 1;
    for (int y = frame->Interlace ? interlaced[pass].first : 0; y < frame->Height; y += step) {
      if (DGifGetLine(reader->gif, reader->row, frame->Width) != GIF_OK) {
        return gif_stop(reader, reader->gif->Error);
      }
      uint8_t *target = pixels + ((size_t)(frame->Top + y) * info->width + (size_t)frame->Left) * 3;
      for (int x = 0; x < frame->Width; x++, target += 3) {
        int index = reader->row[x];
        if (index == transparent) {
          continue;
        }
        if (index >= palette->ColorCount) {
          return easel_fail(reader->error, "has a colour that its palette has not");
        }
        const GifColorType *color = &palette->Colors[index];
        target[0] = color->Red, target[1] = color->Green, target[2] = color->Blue;
      }
    }
  }
  return true;
}

bool easel_gif_is_available(void) { return true; }

bool easel_gif_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error) {
  gif_reader reader = {.bytes = bytes, .remaining = count, .error = error};
  bool succeeded = gif_open(&reader, maximum_pixels, info);
  gif_close(&reader);
  return succeeded;
}

bool easel_gif_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error) {
  gif_reader reader = {.bytes = bytes, .remaining = count, .error = error};
  easel_image_info found;
  bool succeeded = gif_open(&reader, (uint64_t)info->width * info->height, &found);
  if (succeeded && (found.width != info->width || found.height != info->height)) {
    succeeded = easel_fail(error, "the header differs from the one read before");
  }
  succeeded = succeeded && gif_read_frame(&reader, info, background, pixels);
  gif_close(&reader);
  return succeeded;
}

#else

bool easel_gif_is_available(void) { return false; }

bool easel_gif_info(const uint8_t *bytes, size_t count, uint64_t maximum_pixels, easel_image_info *info,
                    easel_error_buffer error) {
  (void)bytes, (void)count, (void)maximum_pixels, (void)info;
  return easel_is_missing("GIF", "libgif-dev", error);
}

bool easel_gif_decode(const uint8_t *bytes, size_t count, uint8_t background, const easel_image_info *info,
                      uint8_t *pixels, easel_error_buffer error) {
  (void)bytes, (void)count, (void)background, (void)info, (void)pixels;
  return easel_is_missing("GIF", "libgif-dev", error);
}

#endif
