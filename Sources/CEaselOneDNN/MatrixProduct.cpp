#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "Context.hpp"
#include "Version.hpp"

using namespace easel;
using dnnl::algorithm;
using Tag = dnnl::memory::format_tag;

namespace {

using MatMul = easel_dnn_matmul;
using Strides = easel_dnn_strides;

// What `multiply` can do beyond `easel_dnn_matmul_run`.
struct Extras {
  bool packs_b = false;  // b is `easel_dnn_weights`, packed: `b_type` is the type of the copy
  easel_dnn_type stored = EASEL_DNN_FLOAT32;  // the weights' own type
  bool bias = false;
  bool residual = false;  // of c's layout
};

void check(const MatMul &m) {
  require(m.batch0 > 0 && m.batch1 > 0 && m.rows > 0 && m.columns > 0 && m.inner > 0,
          "every size must be at least 1");
  require(m.a_type == m.b_type, "a and b must have the same type");
  require(m.c_type == m.a_type || m.c_type == EASEL_DNN_FLOAT32, "c must be float32 or have the type of a and b");
  require(m.a_strides.row == 1 || m.a_strides.column == 1, "neither stride within a is 1");
  require(m.b_strides.row == 1 || m.b_strides.column == 1, "neither stride within b is 1");
  require(m.c_strides.column == 1, "the stride between columns of c is not 1");
  require(std::isnormal(m.scale), "the scale must be a finite number other than 0");
}

// For error messages.
auto subject(const char *operation, const MatMul &m) {
  return [operation, &m](char *text, size_t size) {
    const auto print = [](char *out, size_t capacity, const Strides &s) {
      std::snprintf(out, capacity, "(%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 ")", s.batch0, s.batch1, s.row,
                    s.column);
    };
    char a[96], b[96], c[96];
    print(a, sizeof a, m.a_strides);
    print(b, sizeof b, m.b_strides);
    print(c, sizeof c, m.c_strides);
    std::snprintf(text, size,
                  "%s [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] · [%" PRId64 ", %" PRId64
                  "], strides %s · %s = %s, %s",
                  operation, m.batch0, m.batch1, m.rows, m.inner, m.inner, m.columns, a, b, c,
                  m.a_type == EASEL_DNN_BFLOAT16 ? "bfloat16" : "float32");
  };
}

// A matrix as oneDNN sees it. oneDNN has fast implementations for only a few layouts; if several layouts describe the same
// matrix, this gives the one that oneDNN knows.
Layout layout(const MatMul &m, int64_t rows, int64_t columns, const Strides &given, dnnl::memory::data_type type) {
  // The stride along an axis of length 1 means nothing here, but oneDNN distinguishes layouts by it.
  const int64_t row = rows > 1 || given.row == 1 ? given.row : columns * given.column;
  const int64_t column = columns > 1 || given.column == 1 ? given.column : rows * row;
  dnnl::memory::dims shape, strides;
  const auto add_batch = [&](int64_t count, int64_t stride) {
    const bool one = count == 1 || stride == 0;  // oneDNN repeats axes of length 1
    shape.push_back(one ? 1 : count);
    strides.push_back(one ? m.batch1 * rows * columns : stride);
  };
  // Heads within a single image keep a second batch axis: oneDNN does not know their layout with only one.
  if (m.batch0 > 1 || m.batch1 > 1) add_batch(m.batch0, given.batch0);
  if (m.batch1 > 1) add_batch(m.batch1, given.batch1);
  shape.insert(shape.end(), {rows, columns});
  strides.insert(strides.end(), {row, column});
  return Layout(shape, type, strides);
}

constexpr int residual_argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1;

Plan plan_matmul(const easel_dnn_context &context, const MatMul &m, const Extras &extras) {
  const auto float32 = dnnl::memory::data_type::f32;
  const Layout a = layout(m, m.rows, m.inner, m.a_strides, data_type(m.a_type));
  const Layout c = layout(m, m.rows, m.columns, m.c_strides, data_type(m.c_type));
  Plan plan;
  plan.plain = layout(m, m.inner, m.columns, m.b_strides, data_type(extras.packs_b ? extras.stored : m.b_type));
  const Layout b = extras.packs_b ? Layout({m.inner, m.columns}, data_type(m.b_type), Tag::any) : plan.plain;

  Layout bias, residual;
  if (extras.bias) bias = layout(m, 1, m.columns, {0, 0, m.columns, 1}, float32);
  dnnl::post_ops operations;
  if (extras.residual) {
    residual = c;
    operations.append_binary(algorithm::binary_add, residual);
  }
  // scale · (a·b + bias/scale + c/scale): oneDNN adds the bias first; only in this form does it have fast implementations
  // that also add c.
  if (m.accumulate) operations.append_sum(1 / m.scale);
  if (m.scale != 1) append_scale(operations, m.scale);
  dnnl::primitive_attr attributes = context.attributes();
  attributes.set_post_ops(operations);

  const auto description = describe<dnnl::matmul>(context.engine, attributes, a, b, bias, c);
  plan.packed = description.weights_desc();
  plan.main = Step(context.engine, description,
                   {{DNNL_ARG_SRC, a},
                    {DNNL_ARG_WEIGHTS, plan.packed},
                    {DNNL_ARG_BIAS, bias},
                    {residual_argument, residual},
                    {DNNL_ARG_DST, c}});
  if (plan.packed != plan.plain) plan.reorder = context.reorder(plan.plain, plan.packed);
  return plan;
}

Plan &plan(easel_dnn_context &context, const MatMul &m, const Extras &extras) {
  int32_t scale;
  static_assert(sizeof scale == sizeof m.scale, "the scale enters the key by its bits");
  std::memcpy(&scale, &m.scale, sizeof scale);
  const Strides &a = m.a_strides, &b = m.b_strides, &c = m.c_strides;
  const int64_t flags = m.accumulate | extras.packs_b << 1 | extras.bias << 2 | extras.residual << 3 |
                        extras.stored << 4;
  const int64_t types = m.a_type | m.b_type << 1 | m.c_type << 2;
  const Key key(Operation::matmul,
                {m.batch0, m.batch1, m.rows, m.columns, m.inner, a.batch0, a.batch1, a.row, a.column, b.batch0,
                 b.batch1, b.row, b.column, c.batch0, c.batch1, c.row, c.column, types, flags, scale});
  return context.plan(key, [&] { return plan_matmul(context, m, extras); });
}

void multiply(easel_dnn_context &context, const MatMul &m, const void *a, const void *b, const float *bias, void *c) {
  check(m);
  require(a && b && c, "a buffer is null");
  Extras extras;
  extras.bias = bias;
  Plan &found = plan(context, m, extras);
  if (bias && m.scale != 1) {
    // The sum is scaled after the bias is added. (Adding the bias last, as a binary post-operation, crashes 2.6's
    // "gemm:jit" if c is permuted.)
    float *divided = static_cast<float *>(context.temporaries.reserve(m.columns * sizeof(float)));
    for (int64_t i = 0; i < m.columns; ++i) divided[i] = bias[i] / m.scale;
    bias = divided;
  }
  context.run(found.main, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, c}});
}

Plan &plan_with_weights(easel_dnn_context &context, const MatMul &m, easel_dnn_type weights, bool has_bias,
                        bool has_residual) {
  check(m);
  Extras extras;
  extras.packs_b = true;
  extras.stored = weights;
  extras.bias = has_bias;
  extras.residual = has_residual;
  return plan(context, m, extras);
}

// c = a · weights [+ bias] [+ residual]
void multiply(easel_dnn_context &context, const MatMul &m, const void *a, easel_dnn_weights weights,
              const float *bias, const void *residual, void *c) {
  Plan &found = plan_with_weights(context, m, weights.type, bias, residual);
  require(a && weights.pointer && c, "a buffer is null");
  context.run(found.main, {{DNNL_ARG_SRC, a},
                           {DNNL_ARG_WEIGHTS, context.weights(found, weights)},
                           {DNNL_ARG_BIAS, bias},
                           {residual_argument, residual},
                           {DNNL_ARG_DST, c}});
}

// A product of dense matrices without batches; `b_strides` decides whether b is transposed.
MatMul product(int64_t rows, int64_t inner, int64_t columns, Strides b_strides, easel_dnn_type type) {
  MatMul m = {};
  m.batch0 = m.batch1 = 1;
  m.rows = rows;
  m.inner = inner;
  m.columns = columns;
  m.a_strides = {0, 0, inner, 1};
  m.b_strides = b_strides;
  m.c_strides = {0, 0, columns, 1};
  m.a_type = m.b_type = m.c_type = type;
  m.scale = 1;
  return m;
}

}  // namespace

int easel_dnn_matmul_run(easel_dnn_context *context, const easel_dnn_matmul *matmul, const void *a, const void *b,
                         const float *bias, void *c) {
  return context->guarded(subject("matrix product", *matmul), [&] { multiply(*context, *matmul, a, b, bias, c); });
}

int easel_dnn_linear(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                     easel_dnn_type type, const void *x, easel_dnn_weights weights, const float *bias,
                     const void *residual, void *y) {
  const MatMul m = product(rows, in_features, out_features, {0, 0, 1, in_features}, type);
  return context->guarded(subject("linear", m), [&] { multiply(*context, m, x, weights, bias, residual, y); });
}

int easel_dnn_linear_pack(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                          easel_dnn_type type, bool has_bias, bool has_residual, easel_dnn_weights *weights) {
  const MatMul m = product(rows, in_features, out_features, {0, 0, 1, in_features}, type);
  return context->guarded(subject("linear", m), [&] {
    weights->packed = context->pack(plan_with_weights(*context, m, weights->type, has_bias, has_residual), *weights);
  });
}

int easel_dnn_linear_backward_data_pack(easel_dnn_context *context, int64_t rows, int64_t in_features,
                                        int64_t out_features, easel_dnn_type type, bool has_addend,
                                        easel_dnn_weights *weights) {
  const MatMul m = product(rows, out_features, in_features, {0, 0, in_features, 1}, type);
  return context->guarded(subject("linear backward to its input", m), [&] {
    weights->packed = context->pack(plan_with_weights(*context, m, weights->type, false, has_addend), *weights);
  });
}

int easel_dnn_linear_backward_data(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                                   easel_dnn_type type, const void *dy, easel_dnn_weights weights, const void *addend,
                                   void *dx) {
  const MatMul m = product(rows, out_features, in_features, {0, 0, in_features, 1}, type);
  return context->guarded(subject("linear backward to its input", m),
                          [&] { multiply(*context, m, dy, weights, nullptr, addend, dx); });
}
