#include "Context.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>

// From libgomp, which oneDNN runs on. <omp.h> belongs to the compiler, and not every clang has it.
extern "C" void omp_set_num_threads(int threads);

namespace easel {

dnnl::memory::data_type data_type(easel_dnn_type type) {
  require(type == EASEL_DNN_FLOAT32 || type == EASEL_DNN_BFLOAT16, "unknown element type");
  if (type == EASEL_DNN_FLOAT32) return dnnl::memory::data_type::f32;
  // oneDNN 2.6 would fall back to reference loops on some of these machines, thousands of times slower.
  if (!easel_dnn_supports_bfloat16()) throw Failure{EASEL_DNN_UNSUPPORTED, "bfloat16 needs a CPU with AVX-512"};
  return dnnl::memory::data_type::bf16;
}

void use_one_thread() {
  static thread_local bool is_set = false;
  if (!is_set) omp_set_num_threads(1);
  is_set = true;
}

void *Buffer::reserve(size_t bytes) {
  if (bytes > capacity) {
    constexpr size_t alignment = 64;
    memory.reset();
    capacity = 0;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    memory.reset(std::aligned_alloc(alignment, rounded));
    if (!memory) throw std::bad_alloc();
    capacity = rounded;
  }
  return memory.get();
}

void Step::add(const dnnl::engine &engine, const Argument &argument) {
  memories.emplace_back(argument.layout, engine, static_cast<void *>(DNNL_MEMORY_NONE));
  arguments.push_back({argument.name, memories.back().get()});
}

void Step::bind(const Binding &binding) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].arg == binding.name) {
      memories[i].set_data_handle(const_cast<void *>(binding.pointer));
      return;
    }
  }
  throw Failure{EASEL_DNN_FAILED, "a buffer was given that the primitive does not take"};
}

void Step::run(const dnnl::stream &stream, Buffer &scratchpad, std::initializer_list<Binding> bindings) {
  for (const Binding &binding : bindings) {
    if (binding.pointer) bind(binding);
  }
  if (scratchpad_bytes > 0) bind({DNNL_ARG_SCRATCHPAD, scratchpad.reserve(scratchpad_bytes)});
  // The C function takes the list as it is; the C++ function wants a hash map and copies it.
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive.get(), stream.get(), int(arguments.size()), arguments.data()),
      "oneDNN could not execute the primitive");
  dnnl::error::wrap_c_api(dnnl_stream_wait(stream.get()), "oneDNN could not finish the primitive");
}

Key::Key(Operation operation, std::initializer_list<int64_t> values) {
  words[0] = int64_t(operation);
  require(values.size() + 1 <= words.size(), "key too long");
  std::copy(values.begin(), values.end(), words.begin() + 1);
}

size_t Key::Hash::operator()(const Key &key) const {
  uint64_t hash = 0;
  for (int64_t word : key.words) {
    hash = (hash ^ uint64_t(word)) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace easel

// ---------------------------------------------------------------------------------------------------------------------

using namespace easel;

dnnl::primitive_attr easel_dnn_context::attributes() const {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

Step easel_dnn_context::reorder(const Layout &from, const Layout &to, bool accumulate) const {
  dnnl::primitive_attr attributes = this->attributes();
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum();
    attributes.set_post_ops(sum);
  }
  dnnl::reorder::primitive_desc description(engine, from, engine, to, attributes);
  return Step(engine, description, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

easel_dnn_packed *easel_dnn_context::repack(easel_dnn_packed &copy, Plan &plan, easel_dnn_weights weights) {
  void *bytes = copy.buffer.reserve(plan.packed.get_size());
  if (copy.generation == 0 || copy.generation != weights.generation) {
    copy.generation = 0;  // in case the next line throws
    if (copy.parts.empty()) run(plan.reorder, {{DNNL_ARG_FROM, weights.pointer}, {DNNL_ARG_TO, bytes}});
    copy.is_to_fill = !copy.parts.empty();
    copy.generation = weights.generation;
  }
  return &copy;
}

// Parts of rows of the outermost axis, in multiples of every layout's blocks; none if oneDNN cannot cut the layout.
std::vector<easel_dnn_packed::Part> easel_dnn_context::parts(const Plan &plan) const {
  constexpr dnnl::memory::dim block = 64, worth_a_part = 1 << 15, most = 16;
  const dnnl::memory::dims whole = plan.plain.dims();
  dnnl::memory::dim elements = 1;
  for (dnnl::memory::dim size : whole) elements *= size;
  const dnnl::memory::dim blocks = (whole[0] + block - 1) / block;
  const dnnl::memory::dim count = std::min({elements / worth_a_part, blocks, most});
  std::vector<easel_dnn_packed::Part> parts;
  if (count < 2) return parts;
  try {
    for (dnnl::memory::dim part = 0; part < count; ++part) {
      dnnl::memory::dims size = whole, first(whole.size(), 0);
      first[0] = blocks * part / count * block;
      size[0] = std::min(whole[0], blocks * (part + 1) / count * block) - first[0];
      parts.push_back({reorder(plan.plain.submemory_desc(size, first), plan.packed.submemory_desc(size, first)),
                       dnnl::stream(engine), Buffer()});
    }
  } catch (const dnnl::error &) {
    parts.clear();
  }
  return parts;
}

void easel_dnn_context::run(easel_dnn_packed &copy, size_t part, const void *weights) {
  use_one_thread();
  easel_dnn_packed::Part &work = copy.parts.at(part);
  work.reorder.run(work.stream, work.scratchpad, {{DNNL_ARG_FROM, weights}, {DNNL_ARG_TO, copy.buffer.bytes()}});
}

easel_dnn_packed *easel_dnn_context::pack(Plan &plan, easel_dnn_weights weights) {
  if (!plan.reorder) return nullptr;
  if (weights.generation == 0) {
    temporary_weights.plain = plan.plain;
    temporary_weights.packed = plan.packed;
    temporary_weights.generation = 0;
    return repack(temporary_weights, plan, weights);
  }
  std::unique_lock lock(shared->mutex);
  auto [first, end] = shared->copies.equal_range(weights.pointer);
  // Both layouts count: a square matrix and its transpose can be packed alike.
  auto entry = std::find_if(first, end, [&](const auto &candidate) {
    return candidate.second.plain == plan.plain && candidate.second.packed == plan.packed;
  });
  if (entry == end) {
    easel_dnn_packed copy;
    copy.plain = plan.plain;
    copy.packed = plan.packed;
    copy.parts = parts(plan);
    entry = shared->copies.emplace(weights.pointer, std::move(copy));
  }
  lock.unlock();  // the rest concerns weights in use, which nobody releases
  return repack(entry->second, plan, weights);
}

const void *easel_dnn_context::weights(Plan &plan, easel_dnn_weights weights) {
  if (!plan.reorder) return weights.pointer;
  const easel_dnn_packed *given = weights.packed;
  if (given && given->plain == plan.plain && given->packed == plan.packed) return given->buffer.bytes();
  // Other threads may be using the same weights, so their shared copies are not touched.
  if (given) weights.generation = 0;
  easel_dnn_packed *packed = pack(plan, weights);
  if (packed->is_to_fill) {
    for (size_t part = 0; part < packed->parts.size(); ++part) run(*packed, part, weights.pointer);
    packed->is_to_fill = false;
  }
  return packed->buffer.bytes();
}

void easel_dnn_context::forget(const void *pointer, size_t bytes) {
  const void *end = static_cast<const char *>(pointer) + bytes;
  std::lock_guard lock(shared->mutex);
  shared->copies.erase(shared->copies.lower_bound(pointer), shared->copies.lower_bound(end));
}

size_t easel_dnn_context::memory_bytes() const {
  size_t bytes = scratchpad.size() + temporaries.size() + temporary_weights.buffer.size();
  if (!is_first) return bytes;
  std::lock_guard lock(shared->mutex);
  for (const auto &entry : shared->copies) bytes += entry.second.buffer.size();
  return bytes;
}

easel_dnn_status easel_dnn_context::status_of(const dnnl::error &failure) {
  switch (failure.status) {
    case dnnl_unimplemented: return EASEL_DNN_UNSUPPORTED;
    case dnnl_invalid_arguments: return EASEL_DNN_INVALID;
    case dnnl_out_of_memory: return EASEL_DNN_OUT_OF_MEMORY;
    default: return EASEL_DNN_FAILED;
  }
}

int easel_dnn_context::report(easel_dnn_status status, const char *subject, const char *reason) noexcept {
  std::snprintf(error, sizeof error, "%s: %s", subject, reason);
  return status;
}

// ---------------------------------------------------------------------------------------------------------------------

int easel_dnn_begin_packing(easel_dnn_weights weights) {
  easel_dnn_packed *packed = const_cast<easel_dnn_packed *>(weights.packed);
  if (!packed || !packed->is_to_fill) return 0;
  packed->is_to_fill = false;
  return int(packed->parts.size());
}

int easel_dnn_pack_part(easel_dnn_context *context, easel_dnn_weights weights, int part) {
  auto subject = [](char *text, size_t size) { std::snprintf(text, size, "packing weights"); };
  return context->guarded(subject, [&] {
    easel_dnn_context::run(*const_cast<easel_dnn_packed *>(weights.packed), size_t(part), weights.pointer);
  });
}

easel_dnn_context *easel_dnn_create(void) {
  try {
    return new easel_dnn_context();
  } catch (...) {
    return nullptr;
  }
}

easel_dnn_context *easel_dnn_create_beside(const easel_dnn_context *first) {
  easel_dnn_context *context = easel_dnn_create();
  if (!context) return nullptr;
  context->shared = first->shared;
  context->is_first = false;
  return context;
}

void easel_dnn_destroy(easel_dnn_context *context) { delete context; }

const char *easel_dnn_last_error(const easel_dnn_context *context) { return context->error; }

const char *easel_dnn_last_implementation(const easel_dnn_context *context) {
  return context->implementation.c_str();
}

size_t easel_dnn_memory_bytes(const easel_dnn_context *context) { return context->memory_bytes(); }

void easel_dnn_forget(easel_dnn_context *context, const void *pointer, size_t bytes) {
  context->forget(pointer, bytes);
}

void easel_dnn_version(int version[3]) {
  const dnnl_version_t *found = dnnl_version();
  version[0] = found->major;
  version[1] = found->minor;
  version[2] = found->patch;
}

// oneDNN's values are sets of bits: an instruction set has all the bits of those that it includes.
static bool has(dnnl_cpu_isa_t isa) { return (dnnl_get_effective_cpu_isa() & isa) == isa; }

const char *easel_dnn_isa(void) {
  if (has(dnnl_cpu_isa_avx512_core_amx)) return "avx512_core_amx";
  if (has(dnnl_cpu_isa_avx512_core_bf16)) return "avx512_core_bf16";
  if (has(dnnl_cpu_isa_avx512_core_vnni)) return "avx512_core_vnni";
  if (has(dnnl_cpu_isa_avx512_core)) return "avx512_core";
  if (has(dnnl_cpu_isa_avx2_vnni)) return "avx2_vnni";
  if (has(dnnl_cpu_isa_avx2)) return "avx2";
  if (has(dnnl_cpu_isa_avx)) return "avx";
  return "sse41";
}

bool easel_dnn_supports_bfloat16(void) { return has(dnnl_cpu_isa_avx512_core); }

bool easel_dnn_has_bfloat16(void) { return has(dnnl_cpu_isa_avx512_core_bf16); }

bool easel_dnn_has_bfloat16_matrices(void) { return has(dnnl_cpu_isa_avx512_core_amx); }
