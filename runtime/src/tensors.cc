#include "tensors.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace lqe {

TfLiteStatus fail(TfLiteContext* context, const std::string& what, const char* format, ...) {
  char reason[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  context->ReportError(context, "larq-equalbits: %s: %s", what.c_str(), reason);
  return kTfLiteError;
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

const char* type_name(TfLiteType type) {
  switch (type) {
    case kTfLiteFloat32: return "float32";
    case kTfLiteInt32: return "int32";
    case kTfLiteBool: return "bool";
    case kTfLiteInt8: return "int8";
  }
  return "another type";
}

Shape shape_of(const TfLiteTensor& tensor) {
  if (tensor.dims == nullptr || tensor.dims->size <= 0) return {};
  return Shape(tensor.dims->data, tensor.dims->data + tensor.dims->size);
}

int64_t elements(const Shape& shape) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t product = 1;
  bool empty = false, impossible = false;
  for (int dimension : shape) {
    empty |= dimension == 0;
    impossible |= dimension < 0 || product > kMost;
    if (dimension > 0 && product <= kMost) product *= dimension;
  }
  if (impossible || product > kMost) return -1;
  return empty ? 0 : product;
}

bool is_constant(const TfLiteTensor& tensor) {
  bool read_only = tensor.allocation_type == kTfLiteMmapRo || tensor.allocation_type == kTfLitePersistentRo;
  return read_only && tensor.data != nullptr;
}

bool is_dynamic(const TfLiteTensor& tensor) { return tensor.allocation_type == kTfLiteDynamic; }

bool holds(const TfLiteTensor& tensor, const Shape& shape) {
  int64_t count = elements(shape);
  size_t width = tensor.type == kTfLiteFloat32 || tensor.type == kTfLiteInt32 ? 4 : 1;
  return count == 0 || (count > 0 && tensor.data != nullptr && tensor.bytes / width >= size_t(count));
}

TfLiteStatus resize(TfLiteContext* context, TfLiteTensor* tensor, const Shape& shape) {
  if (shape_of(*tensor) == shape && !is_dynamic(*tensor)) return kTfLiteOk;
  size_t bytes = sizeof(int) * (shape.size() + 1);
  auto* dims = static_cast<TfLiteIntArray*>(std::malloc(bytes < sizeof(TfLiteIntArray) ? sizeof(TfLiteIntArray) : bytes));
  if (dims == nullptr) return fail(context, "output", "no memory for its shape %s", shape_text(shape).c_str());
  dims->size = int(shape.size());
  for (size_t i = 0; i < shape.size(); ++i) dims->data[i] = shape[i];
  return context->ResizeTensor(context, tensor, dims);  // which now owns dims
}

}  // namespace lqe
