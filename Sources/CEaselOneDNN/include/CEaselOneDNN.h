// Convolutions and matrix products on oneDNN 2.6 or 3.x, behind plain C.
//
// Layouts. Activations are dense NHWC. Convolution weights are dense OIHW, linear weights dense [out, in]: PyTorch's
// order. Biases and all gradients of parameters are float32. Sums are float32 in both types.
//
// Buffers. Element alignment is enough; 64 bytes is faster. Outputs must not overlap inputs. After a call, only cached
// copies of weights (`easel_dnn_weights`) remain of a caller's buffers.
//
// Errors. Each function that returns `int` returns 0 or an `easel_dnn_status`; `easel_dnn_last_error` then says which
// operation failed, with its shapes. No C++ exception leaves this interface.
//
// Threads. A call works only on the calling thread, whatever oneDNN was built to run on; the caller splits its work into
// parts. A context serves one thread at a time; the contexts of several threads share cached copies of weights.

#ifndef EASEL_CONEDNN_H
#define EASEL_CONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Primitives, reordered weights and scratch memory. They are expensive to fill, so a process should have one context.
typedef struct easel_dnn_context easel_dnn_context;

typedef enum {
  EASEL_DNN_OK = 0,
  EASEL_DNN_INVALID = 1,        // a size, stride or pointer that makes no sense
  EASEL_DNN_UNSUPPORTED = 2,    // oneDNN has no implementation here, such as bfloat16 below AVX-512
  EASEL_DNN_OUT_OF_MEMORY = 3,
  EASEL_DNN_FAILED = 4,         // oneDNN reported something else
} easel_dnn_status;

typedef enum { EASEL_DNN_FLOAT32 = 0, EASEL_DNN_BFLOAT16 = 1 } easel_dnn_type;

// ---------------------------------------------------------------------------------------------------------------------
// Context and machine

// Null if oneDNN has no CPU engine or memory is exhausted.
easel_dnn_context *easel_dnn_create(void);
// A context for another thread; it shares the copies of weights of `first`. Null as above.
easel_dnn_context *easel_dnn_create_beside(const easel_dnn_context *first);
void easel_dnn_destroy(easel_dnn_context *context);

// The error of the latest call that failed, in one line; "" before any. Valid until the next call.
const char *easel_dnn_last_error(const easel_dnn_context *context);

// oneDNN's name of the implementation that the latest call's main primitive used, such as "brgconv:avx512_core";
// "" before any. Valid until the next call.
const char *easel_dnn_last_implementation(const easel_dnn_context *context);

// Bytes held for scratch memory; the first of the contexts that share cached weights counts these too.
size_t easel_dnn_memory_bytes(const easel_dnn_context *context);

// The library's version: major, minor, patch.
void easel_dnn_version(int version[3]);

// The best instruction set that oneDNN uses here: "avx512_core_bf16", "avx512_core_amx", "avx2", … after the names of
// `ONEDNN_MAX_CPU_ISA`, which also limits it.
const char *easel_dnn_isa(void);

// Whether bfloat16 works (AVX-512), and whether it does so with the CPU's own bfloat16 dot products or AMX, so that
// it is faster than float32.
bool easel_dnn_supports_bfloat16(void);
bool easel_dnn_has_bfloat16(void);

// Whether the CPU multiplies whole bfloat16 matrices (AMX).
bool easel_dnn_has_bfloat16_matrices(void);

// ---------------------------------------------------------------------------------------------------------------------
// Weights

// A parameter in PyTorch's order. oneDNN wants it in its own layout and in the activations' type. If the generation is
// not 0, that copy is kept under the pointer and remade only when the generation changes: use another number for every
// value that the same address ever holds. Generation 0 marks a temporary, which is converted every time.
//
// If several threads use the weights in parts of one operation, make the copy before, with a function whose name ends in
// `_pack` and `easel_dnn_begin_packing`, and pass it to all of them. It is valid until the context's next such call. If
// oneDNN wants another layout for a part, that part makes its own copy.
typedef struct easel_dnn_packed easel_dnn_packed;
typedef struct {
  const void *pointer;
  uint64_t generation;
  const easel_dnn_packed *packed;  // or null
  easel_dnn_type type;             // of the numbers at `pointer`
} easel_dnn_weights;

// The number of parts of a copy of large weights that now have to be filled in with `easel_dnn_pack_part`, on any threads;
// 0 if the copy is complete. All parts must be done before the copy is used.
int easel_dnn_begin_packing(easel_dnn_weights weights);
int easel_dnn_pack_part(easel_dnn_context *context, easel_dnn_weights weights, int part);

// Drops the cached copies of weights in the `bytes` bytes from `pointer`. Call it, on any thread, before that memory is
// released.
void easel_dnn_forget(easel_dnn_context *context, const void *pointer, size_t bytes);

// ---------------------------------------------------------------------------------------------------------------------
// Convolution
//
// x is [batch, height, width, input_channels] and y [batch, OH, OW, output_channels], both of `type`, where
// OH = (height + pad_top + pad_bottom − kernel_height) / stride_height + 1, rounded down, and OW likewise.
// Weights are [output_channels, input_channels, kernel_height, kernel_width]. Padding is zeros.

typedef struct {
  int64_t batch, height, width, input_channels, output_channels;
  int64_t kernel_height, kernel_width, stride_height, stride_width;
  int64_t pad_top, pad_left, pad_bottom, pad_right;
  easel_dnn_type type;
} easel_dnn_convolution;

// Sets weights->packed to the copy that a part of the work wants.
int easel_dnn_convolution_forward_pack(easel_dnn_context *context, const easel_dnn_convolution *part, bool has_bias,
                                       easel_dnn_weights *weights);
int easel_dnn_convolution_backward_data_pack(easel_dnn_context *context, const easel_dnn_convolution *part,
                                             easel_dnn_weights *weights);

// y = convolution(x, weights) [+ bias] [+ residual]
// bias: [output_channels] or null. residual: of y's shape and type, or null.
int easel_dnn_convolution_forward(easel_dnn_context *context, const easel_dnn_convolution *convolution, const void *x,
                                  easel_dnn_weights weights, const float *bias, const void *residual, void *y);

// dx, the gradient with respect to x, from dy, the gradient with respect to y. It is also the forward pass of the
// transposed convolution, whose weights PyTorch stores in this order.
int easel_dnn_convolution_backward_data(easel_dnn_context *context, const easel_dnn_convolution *convolution,
                                        const void *dy, easel_dnn_weights weights, void *dx);

// dw, of the weights' shape, and db, [output_channels] or null. With `accumulate` they are added to the existing values.
int easel_dnn_convolution_backward_weights(easel_dnn_context *context, const easel_dnn_convolution *convolution,
                                           const void *x, const void *dy, float *dw, float *db, bool accumulate);

// ---------------------------------------------------------------------------------------------------------------------
// Matrix products

// Steps between neighbours along each axis, in elements.
typedef struct {
  int64_t batch0, batch1, row, column;
} easel_dnn_strides;

// a is [batch0, batch1, rows, inner], b [batch0, batch1, inner, columns] and c [batch0, batch1, rows, columns]; absent
// batch axes are 1. In a and b either `row` or `column` is 1, so that each may be a transpose; in c `column` is 1.
// A batch stride of 0 repeats the same matrix (in a and b). a and b have the same type; c has that type or float32.
typedef struct {
  int64_t batch0, batch1, rows, columns, inner;
  easel_dnn_strides a_strides, b_strides, c_strides;
  easel_dnn_type a_type, b_type, c_type;
  bool accumulate;
  float scale;
} easel_dnn_matmul;

// c = scale · a·b [+ bias] [+ c when accumulate]
// bias: [columns], added to every row, or null. The scale is not 0.
int easel_dnn_matmul_run(easel_dnn_context *context, const easel_dnn_matmul *matmul, const void *a, const void *b,
                         const float *bias, void *c);

// y = x · weightsᵀ [+ bias] [+ residual]
// x is [rows, in_features], y and residual (or null) [rows, out_features], of `type`; weights are
// [out_features, in_features], bias is [out_features] or null. A 1×1 convolution is this with rows = N·H·W.
int easel_dnn_linear(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                     easel_dnn_type type, const void *x, easel_dnn_weights weights, const float *bias,
                     const void *residual, void *y);

// dx = dy · weights [+ addend], of dx's shape and type
int easel_dnn_linear_backward_data(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                                   easel_dnn_type type, const void *dy, easel_dnn_weights weights, const void *addend,
                                   void *dx);

// Set weights->packed to the copy that a part with `rows` rows wants.
int easel_dnn_linear_pack(easel_dnn_context *context, int64_t rows, int64_t in_features, int64_t out_features,
                          easel_dnn_type type, bool has_bias, bool has_residual, easel_dnn_weights *weights);
int easel_dnn_linear_backward_data_pack(easel_dnn_context *context, int64_t rows, int64_t in_features,
                                        int64_t out_features, easel_dnn_type type, bool has_addend,
                                        easel_dnn_weights *weights);

#ifdef __cplusplus
}
#endif

#endif
