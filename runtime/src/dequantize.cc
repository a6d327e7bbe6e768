// LceDequantize: bits to values, +1 and -1 on the output's scale.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "operators.h"

namespace lqe {
namespace {

size_t width_of(TfLiteType type) { return type == kTfLiteFloat32 ? 4 : 1; }

template <class Value>
void unpack(const uint32_t* words, int64_t rows, int channels, Value plus, Value minus, Value* out) {
  for (int64_t row = 0; row < rows; ++row, words += packed_words(channels)) {
    for (int c = 0; c < channels; ++c) *out++ = (words[c / kWordBits] >> (c % kWordBits)) & 1 ? minus : plus;
  }
}

void unpack(const TfLiteTensor& from, const TfLiteTensor& to, const Shape& shape, void* data) {
  const int channels = shape.back();
  const int64_t rows = elements(shape) / channels;
  auto* words = static_cast<const uint32_t*>(from.data);
  if (to.type == kTfLiteFloat32) {
    unpack<float>(words, rows, channels, 1.0f, -1.0f, static_cast<float*>(data));
  } else if (to.type == kTfLiteInt8) {
    // Steps of more than 255 saturate, as an infinite one (scale 0) does.
    double steps = std::min(255.0, std::round(1.0 / std::abs(double(to.params.scale))));
    auto value = [&](double v) { return int8_t(std::min(127.0, std::max(-128.0, double(to.params.zero_point) + v))); };
    unpack<int8_t>(words, rows, channels, value(steps), value(-steps), static_cast<int8_t*>(data));
  } else {
    unpack<uint8_t>(words, rows, channels, 1, 0, static_cast<uint8_t*>(data));
  }
}

class Dequantize : public Operator {
 public:
  Dequantize(std::string what, int input, int output) : Operator(std::move(what)), input_(input), output_(output) {}

  // A constant (packed weights of a float layer) is unpacked once, here: the delegates that come after this one, and
  // the interpreter, then see constant weights.
  TfLiteStatus unpack_constant(TfLiteContext* context) {
    TfLiteTensor &from = context->tensors[input_], &to = context->tensors[output_];
    if (!is_constant(from)) return kTfLiteOk;
    Shape shape;
    if (lay_out(context, shape_of(from), &shape) != kTfLiteOk) return kTfLiteError;
    if (elements(shape) <= 0 || !holds(from, shape_of(from)))
      return fail(context, what(), "its constant has %zu bytes and its output shape %s", from.bytes,
                  shape_text(shape).c_str());
    constant_.resize(size_t(elements(shape)) * width_of(to.type));
    unpack(from, to, shape, constant_.data());
    to.data = constant_.data();
    to.bytes = constant_.size();
    to.allocation_type = kTfLiteMmapRo;
    return kTfLiteOk;
  }

 protected:
  int input() const override { return input_; }
  int output() const override { return output_; }
  bool is_unpacked() const override { return !constant_.empty(); }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) override {
    const TfLiteTensor &from = context->tensors[input_], &to = context->tensors[output_];
    bool known = to.type == kTfLiteFloat32 || to.type == kTfLiteInt8 || to.type == kTfLiteBool;
    if (from.type != kTfLiteInt32 || !known)
      return fail(context, what(), "types %s to %s; it takes int32 and gives float32, int8 or bool",
                  type_name(from.type), type_name(to.type));
    // Nothing in the packed tensor tells how many channels its last word has: the file's shape of the output does.
    *shape = shape_of(to);
    Shape packed = *shape;
    if (!packed.empty()) packed.back() = packed_words(packed.back());
    if (input.empty() || packed != input)
      return fail(context, what(), "its input %s is not the packed form of its output %s, whose shape is fixed",
                  shape_text(input).c_str(), shape_text(*shape).c_str());
    return kTfLiteOk;
  }

  TfLiteStatus compute(TfLiteContext* context, Threads*) override {
    const TfLiteTensor& to = context->tensors[output_];
    if (!is_unpacked()) unpack(context->tensors[input_], to, shape_of(to), to.data);
    return kTfLiteOk;
  }

 private:
  int input_, output_;
  std::vector<uint8_t> constant_;
};

}  // namespace

std::unique_ptr<Operator> make_dequantize(TfLiteContext* context, const TfLiteNode* node, const Options&) {
  std::string what = describe(context, node, "LceDequantize");
  if (!check_tensors(context, node, 1, 1, what)) return nullptr;
  auto made = std::make_unique<Dequantize>(what, node->inputs->data[0], node->outputs->data[0]);
  if (made->unpack_constant(context) != kTfLiteOk) return nullptr;
  return made;
}

}  // namespace lqe
