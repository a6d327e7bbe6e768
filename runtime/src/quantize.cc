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
    const int32_t zero_point = from.params.zero_point;
    const int64_t part_rows = std::max<int64_t>(1, 65536 / channels);
    threads->run(context->recommended_num_threads, int((rows + part_rows - 1) / part_rows), [&](int part, int) {
      for (int64_t row = part * part_rows; row < std::min(rows, (part + 1) * part_rows); ++row) {
        for (int w = 0; w < row_words; ++w) {
          const int64_t at = row * channels + int64_t{w} * kWordBits;
          const int count = std::min(kWordBits, channels - w * kWordBits);
          uint32_t bits = 0;
          if (from.type == kTfLiteFloat32) {
            bits = kernel_->signs(static_cast<const float*>(from.data) + at, count);
          } else if (from.type == kTfLiteInt8) {
            const int8_t* q = static_cast<const int8_t*>(from.data) + at;
            for (int i = 0; i < count; ++i) bits |= uint32_t(q[i] < zero_point) << i;
          } else {
            const uint8_t* b = static_cast<const uint8_t*>(from.data) + at;
            for (int i = 0; i < count; ++i) bits |= uint32_t(b[i] == 0) << i;
          }
          words[row * row_words + w] = bits;
        }
      }
    });
    return kTfLiteOk;
  }

 private:
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
