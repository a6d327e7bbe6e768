// Tensors of the interpreter, checked before they are touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tflite_api.h"

namespace lqe {

using Shape = std::vector<int>;

constexpr int kWordBits = 32;

inline int packed_words(int channels) { return channels / kWordBits + (channels % kWordBits != 0); }

// What every operator answers with when it cannot go on: one line through the interpreter's own reporter.
__attribute__((format(printf, 3, 4))) TfLiteStatus fail(TfLiteContext* context, const std::string& what,
                                                        const char* format, ...);

std::string shape_text(const Shape& shape);
const char* type_name(TfLiteType type);

// The tensor's shape; empty for a scalar and where dims is null.
Shape shape_of(const TfLiteTensor& tensor);
// Product of the dimensions, or -1 where one is negative or the product needs more than 40 bits.
int64_t elements(const Shape& shape);
bool is_constant(const TfLiteTensor& tensor);
bool is_dynamic(const TfLiteTensor& tensor);
// The tensor has memory for elements(shape) values of its type.
bool holds(const TfLiteTensor& tensor, const Shape& shape);
// Gives the tensor this shape; does nothing where it has it.
TfLiteStatus resize(TfLiteContext* context, TfLiteTensor* tensor, const Shape& shape);

}  // namespace lqe
