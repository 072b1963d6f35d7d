#include <cinttypes>
#include <cstdio>

#include "Context.hpp"
#include "Version.hpp"

using namespace easel;
using dnnl::algorithm;
using Tag = dnnl::memory::format_tag;

namespace {

using Convolution = easel_dnn_convolution;

int64_t output_height(const Convolution &c) {
  return (c.height + c.pad_top + c.pad_bottom - c.kernel_height) / c.stride_height + 1;
}

int64_t output_width(const Convolution &c) {
  return (c.width + c.pad_left + c.pad_right - c.kernel_width) / c.stride_width + 1;
}

void check(const Convolution &c) {
  require(c.batch > 0 && c.height > 0 && c.width > 0 && c.input_channels > 0 && c.output_channels > 0,
          "every size must be at least 1");
  require(c.kernel_height > 0 && c.kernel_width > 0 && c.stride_height > 0 && c.stride_width > 0,
          "kernel and stride must be at least 1");
  require(c.pad_top >= 0 && c.pad_left >= 0 && c.pad_bottom >= 0 && c.pad_right >= 0, "padding is negative");
  require(c.height + c.pad_top + c.pad_bottom >= c.kernel_height &&
              c.width + c.pad_left + c.pad_right >= c.kernel_width,
          "the kernel is larger than the padded input");
}

// For error messages.
auto subject(const char *operation, const Convolution &c) {
  return [operation, &c](char *text, size_t size) {
    std::snprintf(text, size,
                  "convolution %s of [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] with weights [%" PRId64
                  ", %" PRId64 ", %" PRId64 ", %" PRId64 "], stride %" PRId64 "×%" PRId64 ", padding %" PRId64
                  " %" PRId64 " %" PRId64 " %" PRId64 ", %s",
                  operation, c.batch, c.height, c.width, c.input_channels, c.output_channels, c.input_channels,
                  c.kernel_height, c.kernel_width, c.stride_height, c.stride_width, c.pad_top, c.pad_left,
                  c.pad_bottom, c.pad_right, c.type == EASEL_DNN_BFLOAT16 ? "bfloat16" : "float32");
  };
}

Key key(Operation operation, const Convolution &c, easel_dnn_type weights, bool bias, bool extra) {
  return Key(operation, {c.batch, c.height, c.width, c.input_channels, c.output_channels, c.kernel_height,
                         c.kernel_width, c.stride_height, c.stride_width, c.pad_top, c.pad_left, c.pad_bottom,
                         c.pad_right, c.type, weights, bias, extra});
}

// oneDNN's view of a convolution. The dimensions are N, C, H, W whatever the order in memory.
struct Geometry {
  Layout x, y, bias;
  Layout plain_weights;     // OIHW
  Layout weights;           // of the activations' type, in the order that oneDNN prefers
  Layout weights_gradient;  // float32, in the order that oneDNN prefers
  dnnl::memory::dims stride, padding_before, padding_after;

  Geometry(const Convolution &c, easel_dnn_type weights_type, bool has_bias) {
    const auto type = data_type(c.type), float32 = dnnl::memory::data_type::f32;
    const dnnl::memory::dims weights_shape = {c.output_channels, c.input_channels, c.kernel_height, c.kernel_width};
    x = Layout({c.batch, c.input_channels, c.height, c.width}, type, Tag::nhwc);
    y = Layout({c.batch, c.output_channels, output_height(c), output_width(c)}, type, Tag::nhwc);
    if (has_bias) bias = Layout({c.output_channels}, float32, Tag::x);
    plain_weights = Layout(weights_shape, data_type(weights_type), Tag::oihw);
    weights = Layout(weights_shape, type, Tag::any);
    weights_gradient = Layout(weights_shape, float32, Tag::any);
    stride = {c.stride_height, c.stride_width};
    padding_before = {c.pad_top, c.pad_left};
    padding_after = {c.pad_bottom, c.pad_right};
  }

  dnnl::convolution_forward::primitive_desc forward(const easel_dnn_context &context) const {
    return describe<dnnl::convolution_forward>(context.engine, context.attributes(),
                                               dnnl::prop_kind::forward_training, algorithm::convolution_direct, x,
                                               weights, bias, y, stride, padding_before, padding_after);
  }
};

Plan plan_forward(const easel_dnn_context &context, const Convolution &convolution, easel_dnn_type weights,
                  bool has_bias, bool has_residual) {
  const Geometry geometry(convolution, weights, has_bias);
  const auto description = geometry.forward(context);
  Plan plan;
  plan.plain = geometry.plain_weights;
  plan.packed = description.weights_desc();
  plan.main = Step(context.engine, description,
                   {{DNNL_ARG_SRC, geometry.x},
                    {DNNL_ARG_WEIGHTS, plan.packed},
                    {DNNL_ARG_BIAS, geometry.bias},
                    {DNNL_ARG_DST, geometry.y}});
  if (plan.packed != plan.plain) plan.reorder = context.reorder(plan.plain, plan.packed);
  // A residual could be a post-operation. But then oneDNN 2.6 does not use its best implementation ("brgconv"), which
  // costs more than this second pass, and its "gemm:jit", for CPUs without AVX2, adds the residual in the wrong places.
  if (has_residual) plan.add_residual = context.reorder(geometry.y, geometry.y, true);
  return plan;
}

Plan plan_backward_data(const easel_dnn_context &context, const Convolution &convolution, easel_dnn_type weights) {
  const Geometry geometry(convolution, weights, false);
  const auto description = describe_backward<dnnl::convolution_backward_data>(
      context.engine, context.attributes(), geometry.forward(context),
      algorithm::convolution_direct, geometry.x, geometry.weights, geometry.y, geometry.stride,
      geometry.padding_before, geometry.padding_after);
  Plan plan;
  plan.plain = geometry.plain_weights;
  plan.packed = description.weights_desc();
  plan.main = Step(context.engine, description,
                   {{DNNL_ARG_DIFF_DST, geometry.y}, {DNNL_ARG_WEIGHTS, plan.packed}, {DNNL_ARG_DIFF_SRC, geometry.x}});
  if (plan.packed != plan.plain) plan.reorder = context.reorder(plan.plain, plan.packed);
  return plan;
}

Plan plan_backward_weights(const easel_dnn_context &context, const Convolution &convolution, bool has_bias,
                           bool accumulate) {
  const Geometry geometry(convolution, EASEL_DNN_FLOAT32, has_bias);
  const auto description = describe_backward<dnnl::convolution_backward_weights>(
      context.engine, context.attributes(), geometry.forward(context),
      algorithm::convolution_direct, geometry.x, geometry.weights_gradient, geometry.bias, geometry.y, geometry.stride,
      geometry.padding_before, geometry.padding_after);
  Plan plan;
  plan.plain = geometry.plain_weights;
  plan.packed = description.diff_weights_desc();
  plan.main = Step(context.engine, description,
                   {{DNNL_ARG_SRC, geometry.x},
                    {DNNL_ARG_DIFF_DST, geometry.y},
                    {DNNL_ARG_DIFF_WEIGHTS, plan.packed},
                    {DNNL_ARG_DIFF_BIAS, geometry.bias}});
  if (accumulate || plan.packed != plan.plain) plan.reorder = context.reorder(plan.packed, plan.plain, accumulate);
  return plan;
}

Plan &forward(easel_dnn_context &context, const Convolution &c, easel_dnn_type weights, bool has_bias,
              bool has_residual) {
  return context.plan(key(Operation::convolution_forward, c, weights, has_bias, has_residual),
                      [&] { return plan_forward(context, c, weights, has_bias, has_residual); });
}

Plan &backward_data(easel_dnn_context &context, const Convolution &c, easel_dnn_type weights) {
  return context.plan(key(Operation::convolution_backward_data, c, weights, false, false),
                      [&] { return plan_backward_data(context, c, weights); });
}

}  // namespace

int easel_dnn_convolution_forward(easel_dnn_context *context, const easel_dnn_convolution *convolution, const void *x,
                                  easel_dnn_weights weights, const float *bias, const void *residual, void *y) {
  return context->guarded(subject("forward", *convolution), [&] {
    check(*convolution);
    require(x && weights.pointer && y, "a buffer is null");
    Plan &plan = forward(*context, *convolution, weights.type, bias, residual);
    context->run(plan.main, {{DNNL_ARG_SRC, x},
                             {DNNL_ARG_WEIGHTS, context->weights(plan, weights)},
                             {DNNL_ARG_BIAS, bias},
                             {DNNL_ARG_DST, y}});
    if (residual) context->run(plan.add_residual, {{DNNL_ARG_FROM, residual}, {DNNL_ARG_TO, y}});
  });
}

int easel_dnn_convolution_forward_pack(easel_dnn_context *context, const easel_dnn_convolution *part, bool has_bias,
                                       easel_dnn_weights *weights) {
  return context->guarded(subject("forward", *part), [&] {
    check(*part);
    weights->packed = context->pack(forward(*context, *part, weights->type, has_bias, false), *weights);
  });
}

int easel_dnn_convolution_backward_data_pack(easel_dnn_context *context, const easel_dnn_convolution *part,
                                             easel_dnn_weights *weights) {
  return context->guarded(subject("backward to its input", *part), [&] {
    check(*part);
    weights->packed = context->pack(backward_data(*context, *part, weights->type), *weights);
  });
}

int easel_dnn_convolution_backward_data(easel_dnn_context *context, const easel_dnn_convolution *convolution,
                                        const void *dy, easel_dnn_weights weights, void *dx) {
  return context->guarded(subject("backward to its input", *convolution), [&] {
    check(*convolution);
    require(dy && weights.pointer && dx, "a buffer is null");
    Plan &plan = backward_data(*context, *convolution, weights.type);
    context->run(plan.main, {{DNNL_ARG_DIFF_DST, dy},
                             {DNNL_ARG_WEIGHTS, context->weights(plan, weights)},
                             {DNNL_ARG_DIFF_SRC, dx}});
  });
}

int easel_dnn_convolution_backward_weights(easel_dnn_context *context, const easel_dnn_convolution *convolution,
                                           const void *x, const void *dy, float *dw, float *db, bool accumulate) {
  return context->guarded(subject("backward to its weights", *convolution), [&] {
    check(*convolution);
    require(x && dy && dw, "a buffer is null");
    Plan &plan = context->plan(key(Operation::convolution_backward_weights, *convolution, EASEL_DNN_FLOAT32, db, accumulate),
                               [&] { return plan_backward_weights(*context, *convolution, db, accumulate); });
    // oneDNN overwrites both results and has its own order for weights. If that is not what the caller wants, the results
    // go through `temporaries`; the weights' gradient comes first there, for its alignment.
    const int64_t channels = convolution->output_channels;
    const size_t packed_bytes = plan.packed.get_size();
    char *temporary = static_cast<char *>(context->temporaries.reserve(packed_bytes + channels * sizeof(float)));
    float *temporary_db = reinterpret_cast<float *>(temporary + packed_bytes);
    context->run(plan.main, {{DNNL_ARG_SRC, x},
                             {DNNL_ARG_DIFF_DST, dy},
                             {DNNL_ARG_DIFF_WEIGHTS, plan.reorder ? static_cast<void *>(temporary) : dw},
                             {DNNL_ARG_DIFF_BIAS, db && accumulate ? temporary_db : db}});
    if (plan.reorder) context->run(plan.reorder, {{DNNL_ARG_FROM, temporary}, {DNNL_ARG_TO, dw}});
    if (db && accumulate) {
      for (int64_t i = 0; i < channels; ++i) db[i] += temporary_db[i];
    }
  });
}
