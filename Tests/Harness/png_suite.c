// Writes one PNG file of every kind that libpng can write: each colour type, bit depth, interlacing, transparency and row
// filter, in several sizes. Beside each file is one with what it must decode to: a byte with the number of channels, then
// 8-bit pixels, with transparent ones over white and 16-bit samples as round(v / 257).
//
//   png_suite FOLDER

#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { mostSide = 33, mostSamples = mostSide * mostSide * 4 };

typedef struct {
  const char *name;
  int type, depth, samples;
} Kind;

static const Kind kinds[] = {
    {"grey", PNG_COLOR_TYPE_GRAY, 1, 1},        {"grey", PNG_COLOR_TYPE_GRAY, 2, 1},
    {"grey", PNG_COLOR_TYPE_GRAY, 4, 1},        {"grey", PNG_COLOR_TYPE_GRAY, 8, 1},
    {"grey", PNG_COLOR_TYPE_GRAY, 16, 1},       {"palette", PNG_COLOR_TYPE_PALETTE, 1, 1},
    {"palette", PNG_COLOR_TYPE_PALETTE, 2, 1},  {"palette", PNG_COLOR_TYPE_PALETTE, 4, 1},
    {"palette", PNG_COLOR_TYPE_PALETTE, 8, 1},  {"rgb", PNG_COLOR_TYPE_RGB, 8, 3},
    {"rgb", PNG_COLOR_TYPE_RGB, 16, 3},         {"grey-alpha", PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2},
    {"grey-alpha", PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2}, {"rgba", PNG_COLOR_TYPE_RGB_ALPHA, 8, 4},
    {"rgba", PNG_COLOR_TYPE_RGB_ALPHA, 16, 4},
};
static const struct {
  const char *name;
  int flags;
} filters[] = {{"none", PNG_FILTER_NONE}, {"sub", PNG_FILTER_SUB},     {"up", PNG_FILTER_UP},
               {"average", PNG_FILTER_AVG}, {"paeth", PNG_FILTER_PAETH}, {"all", PNG_ALL_FILTERS}};
static const int sizes[][2] = {{1, 1}, {3, 5}, {13, 11}, {33, 8}};

static uint32_t state = 1;
static uint32_t random_below(uint32_t bound) {
  state = state * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)bound * (state >> 8) >> 24);
}

// The 8-bit level of a sample in 0...`most`, composed over white with an opacity of `alpha` out of `most`.
static uint8_t level(uint64_t sample, uint64_t alpha, uint64_t most) {
  uint64_t total = (sample * alpha + most * (most - alpha)) * 255, unit = most * most;
  return (uint8_t)((2 * total + unit) / (2 * unit));
}

static FILE *opened(const char *folder, const char *name, const char *ending) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
  FILE *file = fopen(path, "wb");
  if (!file) {
    perror(path);
    exit(1);
  }
  return file;
}

static void write_one(const char *folder, Kind kind, int size, int filter, int interlaced, int transparent) {
  int width = sizes[size][0], height = sizes[size][1], count = width * height;
  uint32_t most = (1u << kind.depth) - 1;
  static uint16_t samples[mostSamples];
  for (int i = 0; i < count * kind.samples; i++) samples[i] = (uint16_t)random_below(most + 1);
  png_color palette[256];
  png_byte alphas[256];
  for (int i = 0; i < 256; i++) {
    palette[i] = (png_color){(png_byte)random_below(256), (png_byte)random_below(256), (png_byte)random_below(256)};
    alphas[i] = (png_byte)random_below(256);
  }

  char name[256];
  snprintf(name, sizeof name, "%s%d-%dx%d-%s%s%s", kind.name, kind.depth, width, height, filters[filter].name,
           interlaced ? "-interlaced" : "", transparent ? "-transparent" : "");
  FILE *file = opened(folder, name, "png");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) exit(1);
  png_init_io(png, file);
  png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, kind.depth, kind.type,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
  if (kind.type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 1 << kind.depth);
  png_color_16 hole = {.gray = samples[0], .red = samples[0], .green = samples[1], .blue = samples[2]};
  // A palette may have fewer alphas than colours.
  int alphaCount = (1 << kind.depth) / 2 + 1;
  if (transparent) png_set_tRNS(png, info, alphas, kind.type == PNG_COLOR_TYPE_PALETTE ? alphaCount : 0, &hole);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, filters[filter].flags);
  png_write_info(png, info);
  png_set_packing(png);
  png_set_swap(png);
  static png_byte bytes[2 * mostSamples];
  png_bytep rows[mostSide];
  int rowBytes = width * kind.samples * (kind.depth == 16 ? 2 : 1);
  for (int i = 0; i < count * kind.samples; i++) {
    if (kind.depth == 16) {
      memcpy(bytes + 2 * i, samples + i, 2);
    } else {
      bytes[i] = (png_byte)samples[i];
    }
  }
  for (int y = 0; y < height; y++) rows[y] = bytes + y * rowBytes;
  png_write_image(png, rows);
  png_write_end(png, NULL);
  png_destroy_write_struct(&png, &info);
  if (fclose(file)) exit(1);

  file = opened(folder, name, "expected");
  int isGrey = kind.type == PNG_COLOR_TYPE_GRAY || kind.type == PNG_COLOR_TYPE_GRAY_ALPHA;
  fputc(isGrey ? 1 : 3, file);
  for (int i = 0; i < count; i++) {
    const uint16_t *pixel = samples + i * kind.samples;
    if (kind.type == PNG_COLOR_TYPE_PALETTE) {
      png_color color = palette[pixel[0]];
      uint64_t alpha = transparent && pixel[0] < alphaCount ? alphas[pixel[0]] : 255;
      fputc(level(color.red, alpha, 255), file);
      fputc(level(color.green, alpha, 255), file);
      fputc(level(color.blue, alpha, 255), file);
      continue;
    }
    int colors = isGrey ? 1 : 3;
    uint64_t alpha = kind.samples > colors ? pixel[colors] : most;
    if (transparent && memcmp(pixel, samples, (size_t)colors * 2) == 0) alpha = 0;
    for (int c = 0; c < colors; c++) fputc(level(pixel[c], alpha, most), file);
  }
  if (fclose(file)) exit(1);
}

int main(int count, char **arguments) {
  if (count != 2) return 64;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++)
      for (size_t filter = 0; filter < sizeof filters / sizeof *filters; filter++)
        for (int interlaced = 0; interlaced < 2; interlaced++)
          for (int transparent = 0; transparent < (kinds[k].type & PNG_COLOR_MASK_ALPHA ? 1 : 2); transparent++)
            write_one(arguments[1], kinds[k], (int)size, (int)filter, interlaced, transparent);
}
