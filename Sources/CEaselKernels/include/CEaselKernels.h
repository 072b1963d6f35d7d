// Loops that oneDNN and OpenBLAS lack, compiled once per instruction set and picked at run time.
//
// A kernel works on the range it receives, on the calling thread; the caller splits work with easel_parallel(). Images
// are channels-last. "T" stands for the activations' type of the table that a kernel comes from (float or bfloat16);
// statistics, parameters and reductions are float or double whatever T is.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma clang assume_nonnull begin

// MARK: Threads

enum { EASEL_MOST_THREADS = 1024, EASEL_MOST_PARTS = 65535 };

// Calls body(context, part, worker) for each part from 0 on, at most EASEL_MOST_PARTS, and waits for all of them. It runs
// on the calling thread and threads of the process's pool, at most `width` in total. The worker's number is below `width`;
// the caller's is 0, and no two threads have the same number at the same time.
void easel_parallel(int width, int parts, void (*body)(void *_Nullable context, int part, int worker),
                    void *_Nullable context);

// The calling thread's worker number; 0 outside the pool.
int easel_current_worker(void);

// A number that stands for the processors that this process may run on; processes with the same processors have the same
// number.
uint64_t easel_affinity(void);

// MARK: Memory

// A range of addresses without memory behind them; NULL if there is no free range of that length.
void *_Nullable easel_reserve(size_t bytes);
// Puts memory behind a part of it, in huge pages if the system has them; false if no memory is left.
bool easel_commit(void *address, size_t bytes);
void easel_unreserve(void *address, size_t bytes);

// Bytes of a file as memory that can only be read; NULL if the system does not provide it.
void *_Nullable easel_map_file(int descriptor, size_t start, size_t bytes);
// Lets them leave the memory until they are used again.
void easel_evict(void *address, size_t bytes);
void easel_unmap_file(void *address, size_t bytes);

// MARK: Operations

enum easel_unary {
  EASEL_IDENTITY,
  EASEL_RELU,
  EASEL_LEAKY_RELU,  // parameter: slope below zero
  EASEL_SILU,
  EASEL_GELU,        // exact, by erf
  EASEL_GELU_TANH,
  EASEL_QUICK_GELU,  // x sigmoid(1.702 x)
  EASEL_SIGMOID,
  EASEL_TANH,
  EASEL_EXP,
  EASEL_SQUARE,
};

enum easel_loss {
  EASEL_SQUARED_ERROR,     // (a - b)^2
  EASEL_ABSOLUTE_ERROR,    // |a - b|
  EASEL_BCE_WITH_LOGITS,   // softplus(a) - a b, a the logit and b in [0, 1]
};

// Normalisation of one sample's [positions, channels] over groups of adjacent channels. Positions are `stride` elements
// apart.
typedef struct {
  ptrdiff_t positions, channels, stride, groups;
  float epsilon;
  int activation;  // easel_unary applied to the normalised value
  float activation_parameter;
} easel_norm;

// A convolution by Winograd's method, with a 3×3 kernel and stride 1 or with a 4×4 kernel and stride 2; see Winograd.inc.
// Its tiles are 4×4 pixels of the result, image by image, row by row. Inputs and outputs (channels) are multiples of
// EASEL_WINOGRAD_CHANNELS, at most EASEL_WINOGRAD_LARGEST.
typedef struct {
  ptrdiff_t height, width, inputs;
  ptrdiff_t output_height, output_width, outputs;
  ptrdiff_t pad_top, pad_left, stride;
} easel_winograd;

// The number of pixels added at each side of an image [height, width, channels]: its own pixels, mirrored at the outermost
// row or column, which is not repeated. There are fewer than the image has.
typedef struct {
  ptrdiff_t height, width, channels;
  ptrdiff_t top, left, bottom, right;
} easel_border;

enum {
  EASEL_WINOGRAD_CHANNELS = 32,
  EASEL_WINOGRAD_LARGEST = 8192,
  EASEL_WINOGRAD_GAP = 16,  // floats between planes
};

// The number of floats from one tile's channels to those of the next.
static inline ptrdiff_t easel_winograd_pitch(ptrdiff_t channels) { return channels % 128 == 0 ? channels + 16 : channels; }

// What the transformed weights are for: the convolution, the gradient of its input as another convolution (stride 1 only;
// the kernel rotated by half a turn), or the same gradient by the transposes of the convolution's steps (not rotated).
enum easel_winograd_use { EASEL_WINOGRAD_FORWARD, EASEL_WINOGRAD_TURNED, EASEL_WINOGRAD_TRANSPOSED };

// One image's convolution with stride 1 to few channels, which would leave most of a vector empty: the vectors run over the
// inputs instead, a multiple of 32.
typedef struct {
  ptrdiff_t height, width, inputs;
  ptrdiff_t output_height, output_width, outputs;
  ptrdiff_t kernel_height, kernel_width, pad_top, pad_left;
} easel_narrow;

// One head of attention in one sample; see Attention.inc.
typedef struct {
  ptrdiff_t queries, keys, width;          // tokens, and a head's channels
  ptrdiff_t q_stride, k_stride, y_stride;  // elements between tokens; v has k's, and gradients those of their values
  float scale;                             // of the scores
} easel_head;

// The keys of one sample that queries see. With a causal mask, query i sees only the keys up to i; in either case it sees
// only keys whose byte in `shown` ([keys]) is 1 and not 0. NULL shows all keys.
typedef struct {
  bool is_causal;
  const uint8_t *_Nullable shown;
} easel_mask;

// The number of queries and keys whose scores with each other are kept at a time. It is a multiple of every instruction
// set's EASEL_ROWS and of whole pairs of its vectors, so that products have no remainders; the scores take 36 KB.
#define EASEL_ATTENTION_BLOCK 96

// Attention's softmax, pooling and the like take plain arguments.
typedef struct {
  // y = op(x)
  void (*unary)(int op, float parameter, ptrdiff_t count, const void *x, void *y);
  // dx = dy op'(x)
  void (*unary_backward)(int op, float parameter, ptrdiff_t count, const void *x, const void *dy, void *dx);
  // y = alpha a + beta b
  void (*add)(ptrdiff_t count, float alpha, const void *a, float beta, const void *b, void *y);
  // y = a b
  void (*multiply)(ptrdiff_t count, const void *a, const void *b, void *y);
  // y = scale x + shift
  void (*affine)(ptrdiff_t count, float scale, float shift, const void *x, void *y);
  // y = min(max(x, low), high)
  void (*clamp)(ptrdiff_t count, float low, float high, const void *x, void *y);
  void (*fill)(ptrdiff_t count, float value, void *y);
  void (*from_float)(ptrdiff_t count, const float *x, void *y);
  void (*to_float)(ptrdiff_t count, const void *x, float *y);
  // y = scale x + shift, for bytes
  void (*from_bytes)(ptrdiff_t count, float scale, float shift, const uint8_t *x, void *y);

  // y[r, c] = x[r, c] + v[c]
  void (*add_row)(ptrdiff_t rows, ptrdiff_t columns, const void *x, const float *v, void *y);
  // y[r, c] = alpha[r] a[r, c] + beta[r] b[r, c]; b may be NULL
  void (*scale_rows)(ptrdiff_t rows, ptrdiff_t columns, const float *alpha, const void *a, const float *_Nullable beta,
                     const void *_Nullable b, void *y);
  // sums[c] += the sum of x[r, c] over r
  void (*sum_columns)(ptrdiff_t rows, ptrdiff_t columns, const void *x, float *sums);
  // sums[r] = the sum of x[r, c] over c
  void (*sum_rows)(ptrdiff_t rows, ptrdiff_t columns, const void *x, float *sums);
  // Copies rows of `columns` elements between buffers with their own row strides; with `accumulate`, adds them to y's.
  void (*copy_rows)(ptrdiff_t rows, ptrdiff_t columns, const void *x, ptrdiff_t x_stride, void *y, ptrdiff_t y_stride,
                    bool accumulate);
  // y[i, :] = table[indices[i], :]; an index below 0 gives zeros
  void (*gather)(ptrdiff_t count, ptrdiff_t columns, const float *table, const int32_t *indices, void *y);
  // table[indices[i], :] += dy[i, :]
  void (*scatter_add)(ptrdiff_t count, ptrdiff_t columns, const void *dy, const int32_t *indices, float *table);
  // y[i, :] = x[indices[i], :]; an index below 0 gives `filler` ([columns]), or zeros if that is NULL
  void (*gather_rows)(ptrdiff_t count, ptrdiff_t columns, const void *x, const int32_t *indices,
                      const float *_Nullable filler, void *y);
  // dx ([rows, columns], written completely) = the sums of dy's rows at their indices; rows with an index below 0 are added
  // to `filler` unless that is NULL
  void (*scatter_rows)(ptrdiff_t rows, ptrdiff_t count, ptrdiff_t columns, const void *dy, const int32_t *indices,
                       void *dx, float *_Nullable filler);

  // y = act(gamma (x + shift - mean) / sqrt(variance + epsilon) + beta) for one sample; x, y: [positions, channels];
  // shift: [channels] or NULL; gamma, beta: [channels] or NULL; mean, rstd: [groups], written unless `known`; scratch:
  // 2 channels.
  void (*norm)(const easel_norm *n, bool known, const void *x, const void *_Nullable shift, const float *_Nullable gamma,
               const float *_Nullable beta, void *y, float *mean, float *rstd, float *scratch);
  // dx of the above, plus `addend` (of dx's shape, may be dx, or NULL); adds to dgamma and dbeta ([channels]), writes
  // dshift ([channels]); scratch: (7 + positions) · channels.
  void (*norm_backward)(const easel_norm *n, const void *x, const void *_Nullable shift, const float *_Nullable gamma,
                        const float *_Nullable beta, const float *mean, const float *rstd, const void *dy,
                        const void *_Nullable addend, void *dx, float *_Nullable dgamma, float *_Nullable dbeta,
                        void *_Nullable dshift, float *scratch);

  // The same by bands of positions. n->positions counts the band's positions, except in the steps in the middle.
  // sums ([2][channels]) = the sums over the band of x - pivot and its square; pivot is the sample's first position.
  void (*norm_sums)(const easel_norm *n, const void *x, const void *pivot, float *sums);
  // mean and rstd, from the added sums of all bands; then comes `norm` of each band, with these as `known`.
  void (*norm_statistics)(const easel_norm *n, const void *pivot, const void *_Nullable shift, const float *sums,
                          float *mean, float *rstd);
  // sums ([2][channels]) = the band's sums for the gradients of beta and gamma; scratch: 4 channels.
  void (*norm_backward_sums)(const easel_norm *n, const void *x, const void *_Nullable shift,
                             const float *_Nullable gamma, const float *_Nullable beta, const float *mean,
                             const float *rstd, const void *dy, float *sums, float *scratch);
  // Adds the bands' sums to dgamma and dbeta, and turns them into means; scratch: channels.
  void (*norm_backward_means)(const easel_norm *n, const float *_Nullable gamma, float *sums, float *_Nullable dgamma,
                              float *_Nullable dbeta, float *scratch);
  // dx of a band; the last of the 5 · channels of scratch receives the sums of dx without the addend.
  void (*norm_backward_apply)(const easel_norm *n, const void *x, const void *_Nullable shift,
                              const float *_Nullable gamma, const float *_Nullable beta, const float *mean,
                              const float *rstd, const void *dy, const float *means, const void *_Nullable addend,
                              void *dx, float *scratch);

  // LayerNorm: `norm` with each row as a sample of one group and one position, without shift and activation; mean and rstd:
  // [rows].
  void (*layer_norm)(ptrdiff_t rows, ptrdiff_t channels, float epsilon, bool known, const void *x, const float *gamma,
                     const float *beta, void *y, float *mean, float *rstd);
  void (*layer_norm_backward)(ptrdiff_t rows, ptrdiff_t channels, const void *x, const float *gamma, const float *mean,
                              const float *rstd, const void *dy, const void *_Nullable addend, void *dx, float *dgamma,
                              float *dbeta);

  // y = softmax(scale q kᵀ) v of one head. scratch, for both: with p(n) for n rounded up to a multiple of 16,
  // width · p(queries) + 2 · keys · p(queries) + (2 · keys + queries + max(queries, keys)) · p(width).
  void (*attention)(const easel_head *h, const void *q, const void *k, const void *v, void *y, float *scratch);
  // The gradients of the above, written.
  void (*attention_backward)(const easel_head *h, const void *q, const void *k, const void *v, const void *dy, void *dq,
                             void *dk, void *dv, float *scratch);

  // The same with a mask, a block of scores at a time; pointers are to a head's first token. scratch, for both: with b for
  // EASEL_ATTENTION_BLOCK, b · (6 · p(width) + 2 · b + 3).
  // y and log_sums ([queries], the logarithm of each query's sum of exp(score)) for `queries` queries from `query` on, at
  // most a block. A query that sees no key gives zeros, and its logarithm is -inf.
  void (*attention_blocks)(const easel_head *h, const easel_mask *mask, ptrdiff_t query, ptrdiff_t queries,
                           const void *q, const void *k, const void *v, void *y, float *log_sums, float *scratch);
  // dots[i] = the sum of y dy for each query
  void (*attention_dots)(const easel_head *h, const void *y, const void *dy, float *dots);
  // dk and dv of the keys `first ..< end`, and their share of dq ([queries · p(width)], written), for attention_join.
  void (*attention_blocks_backward)(const easel_head *h, const easel_mask *mask, ptrdiff_t first, ptrdiff_t end,
                                    const void *q, const void *k, const void *v, const void *dy, const float *log_sums,
                                    const float *dots, float *dq, void *dk, void *dv, float *scratch);
  // dq from `parts` shares, `stride` apart; sums: the first share, to which the others are added.
  void (*attention_join)(const easel_head *h, ptrdiff_t parts, ptrdiff_t stride, float *sums, void *dq);

  // y = softmax of each row of scale x (+ mask, [columns])
  void (*softmax)(ptrdiff_t rows, ptrdiff_t columns, float scale, const void *x, const float *_Nullable mask, void *y);
  // dx = scale y (dy - sum(y dy)) of each row
  void (*softmax_backward)(ptrdiff_t rows, ptrdiff_t columns, float scale, const void *y, const void *dy, void *dx);
  // losses[r] = -sum(targets log(softmax(x))) of each row; targets: [rows, columns], each row's sum is 1
  void (*cross_entropy)(ptrdiff_t rows, ptrdiff_t columns, const void *x, const float *targets, float *losses);

  // One image with a border of mirrored pixels; and its gradient, which sums them.
  void (*reflect)(const easel_border *b, const void *x, void *y);
  void (*reflect_backward)(const easel_border *b, const void *dy, void *dx);
  // One image [height, width, channels] to [height f, width f, channels], each pixel repeated; and its gradient, a sum.
  void (*upsample)(ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t factor, const void *x, void *y);
  void (*upsample_backward)(ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t factor, const void *dy,
                            void *dx);
  // One image [height, width, channels] to [height / f, width / f, channels]; a remainder at the edge is left out.
  void (*average_pool)(ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t factor, const void *x, void *y);
  void (*average_pool_backward)(ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t factor, const void *dy,
                                void *dx);

  // y = x / (1 - p) where the uniform number at (seed, counter) is at least p, else 0. `first` is x's index in the whole
  // tensor and a multiple of 4; `counter` holds the counter's last three words.
  void (*dropout)(ptrdiff_t first, ptrdiff_t count, float p, uint64_t seed, const uint32_t counter[_Nonnull 3],
                  const void *x, void *y);

  // losses[r] = the sum over c of loss(a[r, c], b[r, c])
  void (*loss)(int kind, ptrdiff_t rows, ptrdiff_t columns, const void *a, const void *b, float *losses);
  // da[r, c] = weights[r] dloss/da
  void (*loss_backward)(int kind, ptrdiff_t rows, ptrdiff_t columns, const void *a, const void *b, const float *weights,
                        void *da);

  // y of one image; w: [outputs, kernel_height, kernel_width, inputs]; bias: [outputs] or NULL; residual: of y's shape or
  // NULL.
  void (*narrow_convolution)(const easel_narrow *n, const void *x, const float *w, const float *_Nullable bias,
                             const void *_Nullable residual, void *y);
  // Adds one image's gradient to dw, which has w's order.
  void (*narrow_weight_gradient)(const easel_narrow *n, const void *x, const void *dy, float *dw);

  // Winograd, for tiles `first ..< first + count` of a block with `rows` rows (count, rounded up to winograd_rows).
  // v from x.
  void (*winograd_input)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows, const void *x,
                         float *v);
  // y from m (+ bias, [outputs]) (+ residual, of y's shape).
  void (*winograd_output)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows, const float *m,
                          const float *_Nullable bias, const void *_Nullable residual, void *y);
  // The gradient with respect to m, from the gradient with respect to y; adds the latter's sum over pixels to `sums`
  // ([outputs]).
  void (*winograd_output_gradient)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows,
                                   const void *dy, float *m, float *_Nullable sums);
} easel_typed_kernels;

// The constants of one optimizer step. The gradient is first multiplied by `gradient_scale` (clipping, accumulation).
typedef struct {
  float learning_rate, gradient_scale, weight_decay;
  float momentum;             // SGD, RMSprop
  bool nesterov;              // SGD
  bool first;                 // SGD: the first step, at which the momentum is the gradient itself
  float alpha;                // RMSprop
  bool centered;              // RMSprop
  float beta1, beta2;         // Adam
  float correction1, correction2;  // Adam: 1 - beta^t
  bool decoupled;             // AdamW
  float epsilon;
} easel_step;

typedef struct {
  easel_typed_kernels float32, bfloat16;

  // Optimizers, each in one pass: parameters p, gradients g, and state buffers of the same count.
  void (*sgd)(const easel_step *s, ptrdiff_t count, float *p, const float *g, float *_Nullable velocity);
  void (*rmsprop)(const easel_step *s, ptrdiff_t count, float *p, const float *g, float *square,
                  float *_Nullable average, float *_Nullable velocity);
  void (*adam)(const easel_step *s, ptrdiff_t count, float *p, const float *g, float *first, float *second);
  // average += (1 - decay) (p - average)
  void (*moving_average)(ptrdiff_t count, float decay, const float *p, float *average);
  double (*sum_of_squares)(ptrdiff_t count, const float *x);

  // Philox4x32-10: numbers `first ..< first + count` of the sequence at (seed, counter's last three words); `first` is a
  // multiple of 4. Uniform in [0, 1), and standard normal by Box-Muller.
  void (*uniform)(ptrdiff_t first, ptrdiff_t count, uint64_t seed, const uint32_t counter[_Nonnull 3], float *y);
  void (*normal)(ptrdiff_t first, ptrdiff_t count, uint64_t seed, const uint32_t counter[_Nonnull 3], float *y);

  // Fused multiplications and additions in registers, `multiply_add_operations` per round: the processor's ceiling. The
  // result exists only so that the compiler does not remove them.
  float (*multiply_add)(ptrdiff_t rounds);
  ptrdiff_t multiply_add_operations;

  // Winograd. The number of rows in a block of tiles is a multiple of this.
  ptrdiff_t winograd_rows;
  // u from a convolution's weights, columns `first ..< last` (multiples of EASEL_WINOGRAD_CHANNELS). u is [points, inputs,
  // columns]: the columns are the outputs, and the inputs are those of all phases; for gradients it is the other way round.
  void (*winograd_weights)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t last, int use, const float *weights,
                           float *u);
  // Adds the gradient with respect to the images, from the gradient with respect to v, for tiles `first ..< first + count`.
  // dx points to the first of the images that these tiles are in.
  void (*winograd_input_gradient)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows,
                                  const float *v, float *dx);
  // m = v · u at each point
  void (*winograd_multiply)(ptrdiff_t points, ptrdiff_t rows, ptrdiff_t inputs, ptrdiff_t outputs, const float *v,
                            const float *u, float *m);
  // One point's u ([inputs, outputs]) = vᵀ · m over `tiles` of its rows; with `accumulate`, the product is added to u.
  void (*winograd_accumulate)(ptrdiff_t tiles, ptrdiff_t inputs, ptrdiff_t outputs, bool accumulate, const float *v,
                              const float *m, float *u);
  // Adds the gradient from u, [points, inputs of all phases, outputs], to the weights of outputs `first ..< last`.
  void (*winograd_weights_gradient)(const easel_winograd *w, ptrdiff_t first, ptrdiff_t last, const float *u,
                                    float *weights);
} easel_kernels;

enum easel_isa { EASEL_BASELINE, EASEL_AVX2, EASEL_AVX512, EASEL_AVX512_BF16 };

// The widest instruction set of this processor.
enum easel_isa easel_best_isa(void);
// The kernels for an instruction set. The caller has checked that the processor has it.
const easel_kernels *easel_kernels_for(enum easel_isa isa);

#pragma clang assume_nonnull end
#ifdef __cplusplus
}
#endif
