// Compares every function of CEaselOneDNN with plain loops, and measures it.
//
//   g++ -std=c++17 -O2 -Wall -Wextra -ISources/CEaselOneDNN/include Tests/Harness/onednn_check.cpp
//       Sources/CEaselOneDNN/*.cpp -ldnnl -lgomp -o onednn_check               (one line, from the root)
//   ./onednn_check            checks; prints each failure and exits with 1 if there were any
//   ./onednn_check --bench    GFLOP/s and the names of oneDNN's implementations
//
// For another oneDNN, add its -I and -L before the others and set LD_LIBRARY_PATH.

#include <CEaselOneDNN.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

static easel_dnn_context *context, *other;
static int failures = 0, checks = 0;
static std::mt19937 generator(1);

static const easel_dnn_type both_types[] = {EASEL_DNN_FLOAT32, EASEL_DNN_BFLOAT16};
static const char *name(easel_dnn_type type) { return type == EASEL_DNN_FLOAT32 ? "f32" : "bf16"; }

static bool available(easel_dnn_type type) { return type == EASEL_DNN_FLOAT32 || easel_dnn_supports_bfloat16(); }

// Float32 weights without a copy.
static easel_dnn_weights weights_at(const float *pointer, uint64_t generation) {
  return {pointer, generation, nullptr, EASEL_DNN_FLOAT32};
}

// ---------------------------------------------------------------------------------------------------------------------
// Buffers

static uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static float from_bfloat16(uint16_t value) {
  uint32_t bits = uint32_t(value) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// Elements of either type, with their values.
struct Array {
  easel_dnn_type type;
  std::vector<float> wide;
  std::vector<uint16_t> narrow;

  Array(size_t count, easel_dnn_type type) : type(type) {
    if (type == EASEL_DNN_FLOAT32) wide.resize(count);
    else narrow.resize(count);
  }
  static Array random(size_t count, easel_dnn_type type) {
    Array result(count, type);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < count; ++i) result.set(i, normal(generator));
    return result;
  }
  size_t size() const { return wide.size() + narrow.size(); }
  float operator[](size_t i) const { return type == EASEL_DNN_FLOAT32 ? wide[i] : from_bfloat16(narrow[i]); }
  void set(size_t i, float value) {
    if (type == EASEL_DNN_FLOAT32) wide[i] = value;
    else narrow[i] = to_bfloat16(value);
  }
  void *data() { return type == EASEL_DNN_FLOAT32 ? static_cast<void *>(wide.data()) : narrow.data(); }
  float *floats() { return wide.data(); }
};

using Expected = std::vector<double>;

// ‖found − expected‖ / ‖expected‖ against the type's bound; `type` is that of the operands.
static void compare(const std::string &what, int status, const Array &found, const Expected &expected,
                    easel_dnn_type type) {
  ++checks;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(found[i] - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  const double error = std::sqrt(difference / norm), bound = type == EASEL_DNN_FLOAT32 ? 1e-5 : 2e-2;
  const std::string implementation = easel_dnn_last_implementation(context);
  if (status != 0) std::printf("FAILED %s: %s\n", what.c_str(), easel_dnn_last_error(context));
  else if (!(error < bound)) std::printf("FAILED %s: error %.2e [%s]\n", what.c_str(), error, implementation.c_str());
  else return;
  ++failures;
}

static void expect(bool condition, const char *what) {
  ++checks;
  if (condition) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

// ---------------------------------------------------------------------------------------------------------------------
// Convolutions

static int64_t output_height(const easel_dnn_convolution &c) {
  return (c.height + c.pad_top + c.pad_bottom - c.kernel_height) / c.stride_height + 1;
}
static int64_t output_width(const easel_dnn_convolution &c) {
  return (c.width + c.pad_left + c.pad_right - c.kernel_width) / c.stride_width + 1;
}

// Calls body(index in x, index in weights, index in y) for each multiplication of a convolution.
template <class Body>
static void each_multiplication(const easel_dnn_convolution &c, Body body) {
  const int64_t oh = output_height(c), ow = output_width(c);
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t p = 0; p < oh; ++p)
      for (int64_t q = 0; q < ow; ++q)
        for (int64_t r = 0; r < c.kernel_height; ++r)
          for (int64_t s = 0; s < c.kernel_width; ++s) {
            const int64_t h = p * c.stride_height - c.pad_top + r, w = q * c.stride_width - c.pad_left + s;
            if (h < 0 || h >= c.height || w < 0 || w >= c.width) continue;
            for (int64_t o = 0; o < c.output_channels; ++o)
              for (int64_t i = 0; i < c.input_channels; ++i)
                body(((n * c.height + h) * c.width + w) * c.input_channels + i,
                     ((o * c.input_channels + i) * c.kernel_height + r) * c.kernel_width + s,
                     ((n * oh + p) * ow + q) * c.output_channels + o);
          }
}

static std::string describe(const easel_dnn_convolution &c) {
  char text[200];
  std::snprintf(text, sizeof text, "%s n%d %dx%d %d->%d k%dx%d s%dx%d p%d,%d,%d,%d", name(c.type), int(c.batch),
                int(c.height), int(c.width), int(c.input_channels), int(c.output_channels), int(c.kernel_height),
                int(c.kernel_width), int(c.stride_height), int(c.stride_width), int(c.pad_top), int(c.pad_left),
                int(c.pad_bottom), int(c.pad_right));
  return text;
}

static void check_convolution(const easel_dnn_convolution &c) {
  const size_t x_count = c.batch * c.height * c.width * c.input_channels;
  const size_t y_count = c.batch * output_height(c) * output_width(c) * c.output_channels;
  const size_t w_count = c.output_channels * c.input_channels * c.kernel_height * c.kernel_width;
  const easel_dnn_type f32 = EASEL_DNN_FLOAT32;
  Array x = Array::random(x_count, c.type), dy = Array::random(y_count, c.type), w = Array::random(w_count, f32);
  Array bias = Array::random(c.output_channels, f32), residual = Array::random(y_count, c.type);
  const easel_dnn_weights weights = weights_at(w.floats(), 0);

  Expected y0(y_count), dx0(x_count), dw0(w_count), db0(c.output_channels);
  each_multiplication(c, [&](size_t i, size_t j, size_t k) {
    y0[k] += double(x[i]) * w[j];
    dx0[i] += double(dy[k]) * w[j];
    dw0[j] += double(x[i]) * dy[k];
  });
  for (size_t k = 0; k < y_count; ++k) db0[k % c.output_channels] += dy[k];
  Expected biased = y0, full;
  for (size_t k = 0; k < y_count; ++k) biased[k] += bias[k % c.output_channels];
  full = biased;
  for (size_t k = 0; k < y_count; ++k) full[k] += residual[k];

  const std::string what = describe(c);
  Array y(y_count, c.type), dx(x_count, c.type), dw(w_count, f32), db(c.output_channels, f32);
  int status = easel_dnn_convolution_forward(context, &c, x.data(), weights, nullptr, nullptr, y.data());
  compare("forward " + what, status, y, y0, c.type);
  status = easel_dnn_convolution_forward(context, &c, x.data(), weights, bias.floats(), nullptr, y.data());
  compare("forward+bias " + what, status, y, biased, c.type);
  status = easel_dnn_convolution_forward(context, &c, x.data(), weights, bias.floats(), residual.data(), y.data());
  compare("forward+bias+residual " + what, status, y, full, c.type);
  for (size_t k = 0; k < y_count; ++k) full[k] -= bias[k % c.output_channels];
  status = easel_dnn_convolution_forward(context, &c, x.data(), weights, nullptr, residual.data(), y.data());
  compare("forward+residual " + what, status, y, full, c.type);

  status = easel_dnn_convolution_backward_data(context, &c, dy.data(), weights, dx.data());
  compare("backward data " + what, status, dx, dx0, c.type);

  easel_dnn_weights packed = weights;
  status = easel_dnn_convolution_forward_pack(context, &c, true, &packed);
  if (status == 0)
    status = easel_dnn_convolution_forward(other, &c, x.data(), packed, bias.floats(), nullptr, y.data());
  compare("packed forward+bias " + what, status, y, biased, c.type);
  packed = weights;
  status = easel_dnn_convolution_backward_data_pack(context, &c, &packed);
  if (status == 0) status = easel_dnn_convolution_backward_data(other, &c, dy.data(), packed, dx.data());
  compare("packed backward data " + what, status, dx, dx0, c.type);

  status = easel_dnn_convolution_backward_weights(context, &c, x.data(), dy.data(), dw.floats(), nullptr, false);
  compare("backward weights " + what, status, dw, dw0, c.type);
  status = easel_dnn_convolution_backward_weights(context, &c, x.data(), dy.data(), dw.floats(), db.floats(), false);
  compare("backward weights, db " + what, status, dw, dw0, c.type);
  compare("backward bias " + what, status, db, db0, c.type);
  status = easel_dnn_convolution_backward_weights(context, &c, x.data(), dy.data(), dw.floats(), db.floats(), true);
  for (double &value : dw0) value *= 2;
  for (double &value : db0) value *= 2;
  compare("accumulated backward weights " + what, status, dw, dw0, c.type);
  compare("accumulated backward bias " + what, status, db, db0, c.type);
}

static void check_convolutions() {
  const easel_dnn_type t = EASEL_DNN_FLOAT32;
  //                 batch, height × width, channels in and out, kernel, stride, padding top left bottom right
  const easel_dnn_convolution shapes[] = {
      {2, 8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1, t},     {1, 7, 9, 5, 11, 3, 3, 1, 1, 1, 1, 1, 1, t},
      {3, 28, 28, 1, 32, 3, 3, 1, 1, 1, 1, 1, 1, t},    {3, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1, 1, 1, t},
      {2, 16, 16, 3, 64, 3, 3, 1, 1, 1, 1, 1, 1, t},    {2, 15, 13, 64, 3, 3, 3, 1, 1, 1, 1, 1, 1, t},
      {1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, t},       {1, 1, 1, 8, 8, 1, 1, 1, 1, 0, 0, 0, 0, t},
      {2, 28, 28, 32, 64, 3, 3, 2, 2, 1, 1, 1, 1, t},   {2, 15, 15, 24, 40, 3, 3, 2, 2, 1, 1, 1, 1, t},
      {2, 16, 16, 32, 32, 3, 3, 2, 2, 0, 0, 1, 1, t},   {1, 15, 11, 3, 16, 3, 3, 2, 2, 0, 0, 1, 1, t},
      {2, 28, 28, 1, 64, 4, 4, 2, 2, 1, 1, 1, 1, t},    {2, 14, 14, 128, 64, 4, 4, 2, 2, 1, 1, 1, 1, t},
      {1, 9, 9, 64, 1, 4, 4, 1, 1, 1, 1, 1, 1, t},      {1, 21, 21, 3, 32, 7, 7, 1, 1, 0, 0, 0, 0, t},
      {1, 21, 20, 32, 3, 7, 7, 1, 1, 0, 0, 0, 0, t},    {2, 9, 9, 48, 20, 1, 1, 1, 1, 0, 0, 0, 0, t},
      {2, 9, 9, 16, 48, 1, 1, 2, 2, 0, 0, 0, 0, t},     {2, 28, 28, 1, 128, 4, 4, 4, 4, 0, 0, 0, 0, t},
      {2, 6, 10, 16, 16, 1, 5, 1, 2, 0, 2, 0, 2, t},    {1, 8, 8, 17, 33, 5, 5, 1, 1, 2, 2, 2, 2, t},
      {4, 7, 7, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, t},   {2, 10, 10, 12, 12, 3, 3, 3, 3, 0, 1, 2, 0, t},
  };
  for (easel_dnn_type type : both_types) {
    if (!available(type)) continue;
    for (easel_dnn_convolution shape : shapes) {
      shape.type = type;
      check_convolution(shape);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Matrix products

// The order of a batch of matrices in memory: [batch0, batch1, rows, columns], the same with the last two exchanged, or
// [batch0, rows, batch1, columns], the order in which a linear layer's output reaches attention's heads.
enum class Order { dense, transposed, heads };

static easel_dnn_strides strides(Order order, int64_t batch1, int64_t rows, int64_t columns) {
  switch (order) {
    case Order::dense: return {batch1 * rows * columns, rows * columns, columns, 1};
    case Order::transposed: return {batch1 * rows * columns, rows * columns, 1, rows};
    case Order::heads: return {batch1 * rows * columns, columns, batch1 * columns, 1};
  }
  std::abort();
}

static size_t at(const easel_dnn_strides &s, int64_t i, int64_t j, int64_t row, int64_t column) {
  return i * s.batch0 + j * s.batch1 + row * s.row + column * s.column;
}

static void check_matmul(const easel_dnn_matmul &m, bool has_bias) {
  const easel_dnn_strides &as = m.a_strides, &bs = m.b_strides, &cs = m.c_strides;
  const int64_t batches = m.batch0 * m.batch1;
  Array a = Array::random(batches * m.rows * m.inner, m.a_type);
  Array b = Array::random(batches * m.inner * std::max(m.columns, bs.row), m.b_type);
  Array c = Array::random(batches * m.rows * m.columns, m.c_type), bias = Array::random(m.columns, EASEL_DNN_FLOAT32);
  Expected expected(c.size());
  for (int64_t i = 0; i < m.batch0; ++i)
    for (int64_t j = 0; j < m.batch1; ++j)
      for (int64_t row = 0; row < m.rows; ++row)
        for (int64_t column = 0; column < m.columns; ++column) {
          double sum = 0;
          for (int64_t k = 0; k < m.inner; ++k) sum += double(a[at(as, i, j, row, k)]) * b[at(bs, i, j, k, column)];
          const size_t index = at(cs, i, j, row, column);
          expected[index] = m.scale * sum + (has_bias ? bias[column] : 0) + (m.accumulate ? c[index] : 0);
        }
  const float *given_bias = has_bias ? bias.floats() : nullptr;
  const int status = easel_dnn_matmul_run(context, &m, a.data(), b.data(), given_bias, c.data());
  char what[200];
  std::snprintf(what, sizeof what, "matmul %s->%s %dx%d %dx%dx%d a(%d %d %d) b(%d %d %d)%s%s scale %g", name(m.a_type),
                name(m.c_type), int(m.batch0), int(m.batch1), int(m.rows), int(m.inner), int(m.columns), int(as.batch1),
                int(as.row), int(as.column), int(bs.batch1), int(bs.row), int(bs.column), has_bias ? " bias" : "",
                m.accumulate ? " accumulate" : "", m.scale);
  compare(what, status, c, expected, m.a_type);
}

static void check_matmuls() {
  struct Size {
    int64_t batch0, batch1, rows, columns, inner;
  };
  const Size sizes[] = {{1, 1, 17, 33, 9},  {1, 1, 64, 32, 48}, {5, 1, 49, 49, 128}, {1, 3, 7, 5, 11},
                        {3, 4, 49, 12, 32}, {2, 4, 12, 12, 16}, {1, 1, 1, 10, 7},    {1, 1, 10, 1, 7},
                        {1, 1, 6, 7, 1},    {2, 3, 1, 1, 5}};
  const Order orders[] = {Order::dense, Order::transposed, Order::heads};
  for (easel_dnn_type type : both_types) {
    if (!available(type)) continue;
    for (const Size &s : sizes)
      for (Order a : orders)
        for (Order b : orders)
          for (Order c : {Order::dense, Order::heads})
            for (int variant = 0; variant < 8; ++variant) {
              easel_dnn_matmul m = {};
              m.batch0 = s.batch0, m.batch1 = s.batch1, m.rows = s.rows, m.columns = s.columns, m.inner = s.inner;
              m.a_strides = strides(a, s.batch1, s.rows, s.inner);
              m.b_strides = strides(b, s.batch1, s.inner, s.columns);
              m.c_strides = strides(c, s.batch1, s.rows, s.columns);
              m.a_type = m.b_type = type;
              m.c_type = variant & 4 ? EASEL_DNN_FLOAT32 : type;
              m.accumulate = variant & 1;
              m.scale = variant & 2 ? 0.125f : 1.0f;
              check_matmul(m, (variant ^ variant >> 1) & 1);
            }
    // One b for the whole batch.
    easel_dnn_matmul shared = {4, 3, 10, 12, 16, {480, 160, 16, 1}, {0, 0, 12, 1}, {360, 120, 12, 1},
                               type, type, type, false, 1};
    check_matmul(shared, true);
    // Rows are further apart than they are long: c uses the first three of b's five columns.
    easel_dnn_matmul sliced = {1, 1, 5, 3, 5, {0, 0, 5, 1}, {0, 0, 5, 1}, {0, 0, 3, 1}, type, type, type, false, 0.5f};
    check_matmul(sliced, false);
  }
}

static void check_linear(int64_t rows, int64_t in, int64_t out, easel_dnn_type type) {
  Array x = Array::random(rows * in, type), dy = Array::random(rows * out, type);
  Array residual = Array::random(rows * out, type);
  Array w = Array::random(out * in, EASEL_DNN_FLOAT32), bias = Array::random(out, EASEL_DNN_FLOAT32);
  const easel_dnn_weights weights = weights_at(w.floats(), 0);
  Expected y0(rows * out), dx0(rows * in);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i) {
        y0[r * out + o] += double(x[r * in + i]) * w[o * in + i];
        dx0[r * in + i] += double(dy[r * out + o]) * w[o * in + i];
      }
  Expected biased = y0, full = y0;
  for (size_t k = 0; k < y0.size(); ++k) biased[k] += bias[k % out];
  for (size_t k = 0; k < y0.size(); ++k) full[k] = biased[k] + residual[k];

  char what[100];
  std::snprintf(what, sizeof what, "%s rows %d, %d->%d", name(type), int(rows), int(in), int(out));
  Array y(rows * out, type), dx(rows * in, type);
  int status = easel_dnn_linear(context, rows, in, out, type, x.data(), weights, nullptr, nullptr, y.data());
  compare(std::string("linear ") + what, status, y, y0, type);
  status = easel_dnn_linear(context, rows, in, out, type, x.data(), weights, bias.floats(), nullptr, y.data());
  compare(std::string("linear+bias ") + what, status, y, biased, type);
  status = easel_dnn_linear(context, rows, in, out, type, x.data(), weights, bias.floats(), residual.data(), y.data());
  compare(std::string("linear+bias+residual ") + what, status, y, full, type);
  status = easel_dnn_linear_backward_data(context, rows, in, out, type, dy.data(), weights, nullptr, dx.data());
  compare(std::string("linear backward data ") + what, status, dx, dx0, type);
  Expected sum = dx0;
  for (size_t k = 0; k < sum.size(); ++k) sum[k] += x[k];
  status = easel_dnn_linear_backward_data(context, rows, in, out, type, dy.data(), weights, x.data(), dx.data());
  compare(std::string("linear backward data+addend ") + what, status, dx, sum, type);

  // Packed for one part, used by that part and by a shorter one, in a context of another thread.
  for (int64_t part : {rows, (rows + 1) / 2}) {
    easel_dnn_weights packed = weights;
    status = easel_dnn_linear_pack(context, rows, in, out, type, true, true, &packed);
    if (status == 0)
      status = easel_dnn_linear(other, part, in, out, type, x.data(), packed, bias.floats(), residual.data(), y.data());
    compare(std::string("packed linear+bias+residual ") + what, status, y, full, type);
    packed = weights;
    status = easel_dnn_linear_backward_data_pack(context, rows, in, out, type, false, &packed);
    if (status == 0) status = easel_dnn_linear_backward_data(other, part, in, out, type, dy.data(), packed, nullptr, dx.data());
    compare(std::string("packed linear backward data ") + what, status, dx, dx0, type);
  }
}

static void check_linears() {
  for (easel_dnn_type type : both_types) {
    if (!available(type)) continue;
    check_linear(1, 32, 128, type);
    check_linear(7, 5, 3, type);
    check_linear(64, 16, 16, type);
    check_linear(33, 1, 9, type);
    check_linear(33, 9, 1, type);
    check_linear(128, 6272, 32, type);
    check_linear(4099, 33, 40, type);
    check_linear(6272, 64, 128, type);
    check_linear(100352, 40, 48, type);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Caching and errors

static void check_generations() {
  const easel_dnn_convolution c = {1, 6, 6, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, EASEL_DNN_FLOAT32};
  const size_t count = 6 * 6 * 16;
  Array x = Array::random(count, EASEL_DNN_FLOAT32), w = Array::random(16 * 16 * 9, EASEL_DNN_FLOAT32);
  Array first(count, EASEL_DNN_FLOAT32), second = first;
  const auto run = [&](uint64_t generation, Array &y) {
    easel_dnn_convolution_forward(context, &c, x.data(),
                                  weights_at(w.floats(), generation), nullptr, nullptr, y.data());
  };
  const auto double_weights = [&] {
    for (float &value : w.wide) value *= 2;
  };
  run(0, first);  // lets every buffer except the cache grow
  const size_t before = easel_dnn_memory_bytes(context);
  run(7, first);
  const size_t cached = easel_dnn_memory_bytes(context);
  expect(cached >= before + w.size() * sizeof(float), "a generation's weights are kept and counted");
  double_weights();
  run(7, second);
  expect(second.wide == first.wide, "the same generation uses the copy it has");
  run(8, second);
  expect(second[5] == 2 * first[5] && first[5] != 0, "another generation is converted again");
  expect(easel_dnn_memory_bytes(context) == cached, "and in the same place");
  double_weights();
  run(0, second);
  expect(second[5] == 4 * first[5], "generation 0 is converted every time");
  easel_dnn_forget(context, w.floats() + 1, w.size() * sizeof(float));
  expect(easel_dnn_memory_bytes(context) == cached, "forgetting memory after the weights leaves them");
  easel_dnn_forget(context, w.floats(), 1);
  expect(easel_dnn_memory_bytes(context) == before, "forgetting their memory drops them");
  run(8, second);
  expect(second[5] == 4 * first[5], "forgotten weights are converted again");

  // A square matrix and its transpose have the same shape; their two copies must not be confused.
  Array square = Array::random(64 * 64, EASEL_DNN_FLOAT32), input = Array::random(64, EASEL_DNN_FLOAT32);
  Array forward(64, EASEL_DNN_FLOAT32), backward = forward, again = forward;
  const auto type = EASEL_DNN_FLOAT32;
  easel_dnn_linear(context, 1, 64, 64, type, input.data(),
                   weights_at(square.floats(), 1), nullptr, nullptr, forward.data());
  easel_dnn_linear_backward_data(context, 1, 64, 64, type, input.data(),
                                 weights_at(square.floats(), 1), nullptr, backward.data());
  easel_dnn_linear_backward_data(context, 1, 64, 64, type, input.data(),
                                 weights_at(square.floats(), 0), nullptr, again.data());
  expect(forward.wide != backward.wide && backward.wide == again.wide, "both directions of a square matrix");
}

static void check_errors() {
  float buffer[64] = {};
  easel_dnn_convolution c = {1, 2, 2, 4, 4, 5, 5, 1, 1, 0, 0, 0, 0, EASEL_DNN_FLOAT32};
  expect(easel_dnn_convolution_forward(context, &c, buffer,
                                       weights_at(buffer, 0), nullptr, nullptr, buffer) == EASEL_DNN_INVALID,
         "a kernel larger than its input is refused");
  expect(std::strstr(easel_dnn_last_error(context), "[1, 2, 2, 4]") != nullptr, "the message has the shape");
  c.kernel_height = c.kernel_width = 1;
  const easel_dnn_weights weights = weights_at(buffer, 0);
  expect(easel_dnn_convolution_forward(context, &c, nullptr, weights, nullptr, nullptr, buffer) == EASEL_DNN_INVALID,
         "a null buffer is refused");
  c.stride_width = 0;
  expect(easel_dnn_convolution_backward_data(context, &c, buffer, weights_at(buffer, 0), buffer) == EASEL_DNN_INVALID,
         "stride 0 is refused");
  easel_dnn_matmul m = {1, 1, 2, 2, 2, {0, 0, 4, 2}, {0, 0, 2, 1}, {0, 0, 2, 1}, {}, {}, {}, false, 1};
  expect(easel_dnn_matmul_run(context, &m, buffer, buffer, nullptr, buffer) == EASEL_DNN_INVALID,
         "a matrix without a stride of 1 is refused");
}

// ---------------------------------------------------------------------------------------------------------------------
// Speed

// Prints the best of several runs, in GFLOP/s, with the implementation's name.
static void measure(const char *what, double operations, const std::function<int()> &run) {
  using Clock = std::chrono::steady_clock;
  if (run() != 0) {
    std::printf("  %-16s %s\n", what, easel_dnn_last_error(context));
    return;
  }
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const auto start = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::printf("  %-16s %8.1f GFLOP/s %10.1f µs  %s\n", what, operations / best / 1e9, best * 1e6,
              easel_dnn_last_implementation(context));
}

static void bench_convolution(easel_dnn_convolution c) {
  const size_t x_count = c.batch * c.height * c.width * c.input_channels;
  const size_t y_count = c.batch * output_height(c) * output_width(c) * c.output_channels;
  const size_t w_count = c.output_channels * c.input_channels * c.kernel_height * c.kernel_width;
  Array x = Array::random(x_count, c.type), y = Array::random(y_count, c.type);
  Array residual = Array::random(y_count, c.type);
  Array w = Array::random(w_count, EASEL_DNN_FLOAT32), dw = w, bias(c.output_channels, EASEL_DNN_FLOAT32), db = bias;
  const easel_dnn_weights weights = weights_at(w.floats(), 1);
  const double operations = 2.0 * y_count * c.input_channels * c.kernel_height * c.kernel_width;
  std::printf("convolution %s\n", describe(c).c_str());
  measure("forward", operations, [&] {
    return easel_dnn_convolution_forward(context, &c, x.data(), weights, bias.floats(), nullptr, y.data());
  });
  measure("forward+residual", operations, [&] {
    return easel_dnn_convolution_forward(context, &c, x.data(), weights, bias.floats(), residual.data(), y.data());
  });
  measure("data", operations, [&] {
    return easel_dnn_convolution_backward_data(context, &c, y.data(), weights, x.data());
  });
  measure("weights", operations, [&] {
    return easel_dnn_convolution_backward_weights(context, &c, x.data(), y.data(), dw.floats(), db.floats(), true);
  });
  easel_dnn_forget(context, w.floats(), w_count * sizeof(float));
}

static void bench_linear(int64_t rows, int64_t in, int64_t out, easel_dnn_type type) {
  Array x = Array::random(rows * in, type), y(rows * out, type), residual(rows * out, type);
  Array w = Array::random(out * in, EASEL_DNN_FLOAT32), bias(out, EASEL_DNN_FLOAT32);
  const easel_dnn_weights weights = weights_at(w.floats(), 1);
  const double operations = 2.0 * rows * in * out;
  std::printf("linear %s rows %d %d->%d\n", name(type), int(rows), int(in), int(out));
  measure("forward", operations, [&] {
    return easel_dnn_linear(context, rows, in, out, type, x.data(), weights, bias.floats(), nullptr, y.data());
  });
  measure("forward+residual", operations, [&] {
    return easel_dnn_linear(context, rows, in, out, type, x.data(), weights, bias.floats(), residual.data(), y.data());
  });
  measure("data", operations, [&] {
    return easel_dnn_linear_backward_data(context, rows, in, out, type, y.data(), weights, nullptr, x.data());
  });
  easel_dnn_forget(context, w.floats(), w.size() * sizeof(float));
}

// The products of attention: q·kᵀ, weights·v, and the transposed product that gradients need.
static void bench_attention(int64_t batch, int64_t heads, int64_t tokens, int64_t dimensions, easel_dnn_type type) {
  Array q = Array::random(batch * heads * tokens * dimensions, type), k = q, out = q;
  Array scores = Array::random(batch * heads * tokens * tokens, type);
  const easel_dnn_strides split = strides(Order::heads, heads, tokens, dimensions);
  const easel_dnn_strides split_transposed = {split.batch0, split.batch1, split.column, split.row};
  const easel_dnn_strides square = strides(Order::dense, heads, tokens, tokens);
  const easel_dnn_strides square_transposed = strides(Order::transposed, heads, tokens, tokens);
  const double operations = 2.0 * batch * heads * tokens * tokens * dimensions;
  std::printf("attention %s %d x %d heads, %d tokens of %d\n", name(type), int(batch), int(heads), int(tokens),
              int(dimensions));
  easel_dnn_matmul scoring = {batch, heads, tokens, tokens, dimensions, split, split_transposed, square,
                              type, type, type, false, 0.125f};
  easel_dnn_matmul mixing = {batch, heads, tokens, dimensions, tokens, square, split, split,
                             type, type, type, false, 1};
  easel_dnn_matmul transposed = mixing;
  transposed.a_strides = square_transposed;
  measure("q.kT", operations,
          [&] { return easel_dnn_matmul_run(context, &scoring, q.data(), k.data(), nullptr, scores.data()); });
  scoring.c_type = EASEL_DNN_FLOAT32;
  Array wide(scores.size(), EASEL_DNN_FLOAT32);
  measure("q.kT to f32", operations,
          [&] { return easel_dnn_matmul_run(context, &scoring, q.data(), k.data(), nullptr, wide.data()); });
  measure("p.v", operations,
          [&] { return easel_dnn_matmul_run(context, &mixing, scores.data(), k.data(), nullptr, out.data()); });
  measure("pT.v", operations,
          [&] { return easel_dnn_matmul_run(context, &transposed, scores.data(), k.data(), nullptr, out.data()); });
}

static void bench() {
  for (easel_dnn_type t : both_types) {
    if (!available(t)) continue;
    bench_convolution({1, 4, 4, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, t});  // nothing but overhead
    bench_convolution({128, 28, 28, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 14, 14, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 7, 7, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({64, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 16, 16, 256, 256, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 28, 28, 1, 32, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 32, 32, 3, 128, 3, 3, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({128, 28, 28, 32, 64, 3, 3, 2, 2, 1, 1, 1, 1, t});
    bench_convolution({64, 32, 32, 64, 64, 3, 3, 2, 2, 0, 0, 1, 1, t});
    bench_convolution({128, 28, 28, 1, 64, 4, 4, 2, 2, 1, 1, 1, 1, t});
    bench_convolution({128, 14, 14, 64, 128, 4, 4, 2, 2, 1, 1, 1, 1, t});
    bench_convolution({128, 28, 28, 64, 128, 4, 4, 2, 2, 1, 1, 1, 1, t});
    bench_convolution({4, 70, 70, 3, 32, 7, 7, 1, 1, 0, 0, 0, 0, t});
    bench_convolution({4, 70, 70, 32, 3, 7, 7, 1, 1, 0, 0, 0, 0, t});
    bench_convolution({4, 18, 18, 128, 128, 3, 3, 1, 1, 0, 0, 0, 0, t});
    bench_convolution({4, 8, 8, 256, 512, 4, 4, 1, 1, 1, 1, 1, 1, t});
    bench_convolution({4, 7, 7, 512, 1, 4, 4, 1, 1, 1, 1, 1, 1, t});
    for (int64_t rows : {128, 6272, 25088, 100352}) {
      bench_linear(rows, 32, 64, t);
      bench_linear(rows, 64, 128, t);
      bench_linear(rows, 128, 128, t);
      bench_linear(rows, 256, 128, t);
    }
    bench_linear(128, 6272, 32, t);
    bench_linear(128, 32, 6272, t);
    bench_linear(128, 6272, 1, t);
    bench_linear(12544, 16, 128, t);
    bench_attention(128, 1, 49, 128, t);
    bench_attention(64, 1, 256, 128, t);
    bench_attention(256, 4, 49, 16, t);
    bench_attention(128, 4, 49, 32, t);
    bench_attention(64, 4, 256, 32, t);
    bench_attention(1, 4, 256, 32, t);
  }
}

int main(int count, char **arguments) {
  context = easel_dnn_create();
  other = easel_dnn_create_beside(context);
  int version[3];
  easel_dnn_version(version);
  std::printf("oneDNN %d.%d.%d, %s\n", version[0], version[1], version[2], easel_dnn_isa());
  if (count > 1 && std::strcmp(arguments[1], "--bench") == 0) {
    bench();
  } else {
    check_convolutions();
    check_matmuls();
    check_linears();
    check_generations();
    check_errors();
    std::printf("%d checks, %d failures\n", checks, failures);
  }
  easel_dnn_destroy(other);
  easel_dnn_destroy(context);
  return failures == 0 ? 0 : 1;
}
