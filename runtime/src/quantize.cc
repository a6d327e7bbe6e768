// LceQuantize: values to bits. A bit is 1 where the value is negative.
#include <algorithm>

#include "operators.h"

namespace lqe {
namespace {

class Quantize : public Operator {
 public:
  Quantize(std::string what, int input, int output, const Kernel* kernel)
      : Operator(std::move(what)), input_(input), output_(output), kernel_(kernel) {}

 protected:
  int input() const override { return input_; }
  int output() const override { return output_; }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) override {
    TfLiteType from = context->tensors[input_].type, to = context->tensors[output_].type;
    if ((from != kTfLiteFloat32 && from != kTfLiteInt8 && from != kTfLiteBool) || to != kTfLiteInt32)
      return fail(context, what(), "types %s to %s; it takes float32, int8 or bool and gives int32", type_name(from),
                  type_name(to));
    if (input.empty()) return fail(context, what(), "its input is a scalar; it must have channels");
    *shape = input;
    shape->back() = packed_words(input.back());
    return kTfLiteOk;
  }

  TfLiteStatus compute(TfLiteContext* context, Threads* threads) override {
    const TfLiteTensor& from = context->tensors[input_];
    auto* words = static_cast<uint32_t*>(context->tensors[output_].data);
    const int channels = shape_of(from).back(), row_words = packed_words(channels);
    const int64_t rows = elements(shape_of(from)) / channels;
    const int64_t part_rows = std::max<int64_t>(1, 65536 / channels);
    threads->run(thread_count(context), int((rows + part_rows - 1) / part_rows), [&](int part, int) {
      const int64_t first = part * part_rows, last = std::min(rows, first + part_rows);
      if (from.type == kTfLiteFloat32 && channels % kWordBits == 0) {
        auto* x = static_cast<const float*>(from.data) + first * channels;
        return kernel_->signs(x, (last - first) * channels, words + first * row_words);
      }
      for (int64_t row = first; row < last; ++row) pack_row(from, row * channels, channels, words + row * row_words);
    });
    return kTfLiteOk;
  }

 private:
  // Values [at, at + channels) of the input.
  void pack_row(const TfLiteTensor& from, int64_t at, int channels, uint32_t* words) const {
    if (from.type == kTfLiteFloat32) return kernel_->signs(static_cast<const float*>(from.data) + at, channels, words);
    const bool int8 = from.type == kTfLiteInt8;
    const int8_t* q = static_cast<const int8_t*>(from.data) + at;  // of a bool: 0 is false
    const int32_t zero_point = from.params.zero_point;
    for (int c = 0; c < channels; c += kWordBits) {
      uint32_t bits = 0;
      for (int i = 0; i < std::min(kWordBits, channels - c); ++i)
        bits |= uint32_t(int8 ? q[c + i] < zero_point : q[c + i] == 0) << i;
      *words++ = bits;
    }
  }

  int input_, output_;
  const Kernel* kernel_;
};

}  // namespace

std::unique_ptr<Operator> make_quantize(TfLiteContext* context, const TfLiteNode* node, const Options& options) {
  std::string what = describe(context, node, "LceQuantize");
  if (!check_tensors(context, node, 1, 1, what)) return nullptr;
  return std::make_unique<Quantize>(what, node->inputs->data[0], node->outputs->data[0], options.kernel);
}

}  // namespace lqe
