// What all operations share: scratch memory, cached primitives, cached weights, and error reporting.

#pragma once

#include <dnnl.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "CEaselOneDNN.h"

namespace easel {

using Layout = dnnl::memory::desc;

// A mistake of the caller, as opposed to `dnnl::error`.
struct Failure {
  easel_dnn_status status;
  const char *reason;
};

inline void require(bool condition, const char *reason) {
  if (!condition) throw Failure{EASEL_DNN_INVALID, reason};
}

dnnl::memory::data_type data_type(easel_dnn_type type);

// Makes oneDNN use only the calling thread for what it does there from now on. Primitives are made for a number of
// threads, and those for one thread contain no barriers.
void use_one_thread();

// 64-byte-aligned memory that only grows.
class Buffer {
 public:
  // At least `bytes` bytes. The previous content is lost if the buffer has to grow.
  void *reserve(size_t bytes);
  const void *bytes() const { return memory.get(); }
  size_t size() const { return capacity; }

 private:
  struct Free {
    void operator()(void *pointer) const { std::free(pointer); }
  };
  std::unique_ptr<void, Free> memory;
  size_t capacity = 0;
};

// A oneDNN primitive with its argument list, in which only the pointers have to be filled in.
class Step {
 public:
  struct Argument {
    int name;  // DNNL_ARG_…
    Layout layout;
  };
  struct Binding {
    int name;
    const void *pointer;
  };

  Step() = default;

  // An argument with an empty layout does not exist.
  template <class Description>
  Step(const dnnl::engine &engine, const Description &description, std::initializer_list<Argument> arguments)
      : primitive(description.get()),
        scratchpad_bytes(description.scratchpad_desc().get_size()),
        name(description.impl_info_str()) {
    for (const Argument &argument : arguments) {
      if (!argument.layout.is_zero()) add(engine, argument);
    }
    if (scratchpad_bytes > 0) add(engine, {DNNL_ARG_SCRATCHPAD, description.scratchpad_desc()});
  }

  explicit operator bool() const { return bool(primitive); }
  const std::string &implementation() const { return name; }

  // Arguments with a null pointer are omitted.
  void run(const dnnl::stream &stream, Buffer &scratchpad, std::initializer_list<Binding> bindings);

 private:
  void add(const dnnl::engine &engine, const Argument &argument);
  void bind(const Binding &binding);

  dnnl::primitive primitive;
  size_t scratchpad_bytes = 0;
  std::string name;
  std::vector<dnnl::memory> memories;
  std::vector<dnnl_exec_arg_t> arguments;  // refer to `memories`, in the same order
};

// A primitive, with the steps before and after it.
struct Plan {
  Step main;
  Layout plain, packed;  // the weights (or their gradient) as the caller has them, and as `main` has them
  Step reorder;          // packs the weights, or unpacks (and adds) their gradient; empty if there is nothing to do
  Step add_residual;     // adds a residual to the result if `main` does not
};

enum class Operation : int64_t {
  convolution_forward,
  convolution_backward_data,
  convolution_backward_weights,
  matmul,
};

// Everything that a plan depends on, as integers.
class Key {
 public:
  Key(Operation operation, std::initializer_list<int64_t> values);
  bool operator==(const Key &other) const { return words == other.words; }

  struct Hash {
    size_t operator()(const Key &key) const;
  };

 private:
  std::array<int64_t, 32> words{};
};

}  // namespace easel

// A copy of weights in a layout that oneDNN prefers.
struct easel_dnn_packed {
  // Some of the weights' rows, packed by one thread.
  struct Part {
    easel::Step reorder;
    dnnl::stream stream;
    easel::Buffer scratchpad;
  };

  easel::Layout plain, packed;
  uint64_t generation = 0;
  easel::Buffer buffer;
  std::vector<Part> parts;    // only for weights that are large enough
  bool is_to_fill = false;    // whether its parts still have to be packed
};

namespace easel {

// The copies of weights that are kept. The contexts of several threads share them.
struct SharedWeights {
  std::multimap<const void *, easel_dnn_packed> copies;  // ordered, so that a range can be forgotten
  std::mutex mutex;  // memory may be released on another thread than the one that computes
};

}  // namespace easel

struct easel_dnn_context {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  easel::Buffer scratchpad;   // oneDNN's, within a primitive
  easel::Buffer temporaries;  // ours, within a call
  std::shared_ptr<easel::SharedWeights> shared = std::make_shared<easel::SharedWeights>();
  bool is_first = true;  // whether it is the first of the contexts that share
  char error[512] = "";
  std::string implementation;

  // The plan for `key`; `make` makes it if it is new.
  template <class Make>
  easel::Plan &plan(const easel::Key &key, Make make) {
    auto found = plans.find(key);
    if (found == plans.end()) {
      easel::use_one_thread();
      // A process uses a few hundred shapes. One that uses more and more must not grow without limit.
      if (plans.size() >= 4096) plans.clear();
      found = plans.emplace(key, make()).first;
    }
    implementation = found->second.main.implementation();
    return found->second;
  }

  // `weights` in the order that `plan` wants: as they are, from the copy that the caller passed, or packed here.
  const void *weights(easel::Plan &plan, easel_dnn_weights weights);
  // The packed weights, from the shared copies if they have a generation. They may still have to be filled in. Null if the
  // plan wants the weights as they are.
  easel_dnn_packed *pack(easel::Plan &plan, easel_dnn_weights weights);

  void run(easel::Step &step, std::initializer_list<easel::Step::Binding> bindings) {
    easel::use_one_thread();
    step.run(stream, scratchpad, bindings);
  }

  // The attributes of every primitive: the caller provides scratch memory.
  dnnl::primitive_attr attributes() const;

  // A step from one layout to another; with `accumulate` it adds to its destination.
  easel::Step reorder(const easel::Layout &from, const easel::Layout &to, bool accumulate = false) const;

  // Runs one part of packing.
  static void run(easel_dnn_packed &copy, size_t part, const void *weights);

  void forget(const void *pointer, size_t bytes);
  size_t memory_bytes() const;

  // Runs `body`. If it throws, returns a status and keeps a message that starts with the text from `subject`.
  template <class Subject, class Body>
  int guarded(Subject subject, Body body) noexcept {
    try {
      body();
      return EASEL_DNN_OK;
    } catch (const easel::Failure &failure) {
      return report(failure.status, subject, failure.reason);
    } catch (const dnnl::error &failure) {
      return report(status_of(failure), subject, failure.what());
    } catch (const std::bad_alloc &) {
      return report(EASEL_DNN_OUT_OF_MEMORY, subject, "out of memory");
    } catch (const std::exception &failure) {
      return report(EASEL_DNN_FAILED, subject, failure.what());
    }
  }

 private:
  easel_dnn_packed *repack(easel_dnn_packed &copy, easel::Plan &plan, easel_dnn_weights weights);
  std::vector<easel_dnn_packed::Part> parts(const easel::Plan &plan) const;

  static easel_dnn_status status_of(const dnnl::error &failure);
  template <class Subject>
  int report(easel_dnn_status status, Subject subject, const char *reason) noexcept {
    char text[384] = "";
    subject(text, sizeof text);
    return report(status, static_cast<const char *>(text), reason);
  }
  int report(easel_dnn_status status, const char *subject, const char *reason) noexcept;

  std::unordered_map<easel::Key, easel::Plan, easel::Key::Hash> plans;
  easel_dnn_packed temporary_weights;  // for weights without a generation
};
