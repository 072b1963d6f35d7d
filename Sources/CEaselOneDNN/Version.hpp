// The differences between oneDNN 2.x and 3.x.

#pragma once

#include <dnnl.hpp>

namespace easel {

#if DNNL_VERSION_MAJOR >= 3

// `arguments` are those of the primitive's constructor in oneDNN's C++ reference, between engine and attributes.
template <class Primitive, class... Arguments>
typename Primitive::primitive_desc describe(const dnnl::engine &engine, const dnnl::primitive_attr &attributes,
                                            const Arguments &...arguments) {
  return typename Primitive::primitive_desc(engine, arguments..., attributes);
}

// The same for a backward primitive, for which oneDNN wants the forward one's description as a hint.
template <class Primitive, class Forward, class... Arguments>
typename Primitive::primitive_desc describe_backward(const dnnl::engine &engine,
                                                     const dnnl::primitive_attr &attributes, const Forward &forward,
                                                     const Arguments &...arguments) {
  return typename Primitive::primitive_desc(engine, arguments..., forward, attributes);
}

inline void append_scale(dnnl::post_ops &operations, float scale) {
  operations.append_eltwise(dnnl::algorithm::eltwise_linear, scale, 0);
}

#else

template <class Primitive, class... Arguments>
typename Primitive::primitive_desc describe(const dnnl::engine &engine, const dnnl::primitive_attr &attributes,
                                            const Arguments &...arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes, engine);
}

template <class Primitive, class Forward, class... Arguments>
typename Primitive::primitive_desc describe_backward(const dnnl::engine &engine,
                                                     const dnnl::primitive_attr &attributes, const Forward &forward,
                                                     const Arguments &...arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes, engine, forward);
}

inline void append_scale(dnnl::post_ops &operations, float scale) {
  operations.append_eltwise(1, dnnl::algorithm::eltwise_linear, scale, 0);
}

#endif

}  // namespace easel
