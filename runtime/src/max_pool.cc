// LceBMaxPool2d: the maximum of +1 and -1 over a window is the AND of its bits; taps outside the image are skipped.
#include "geometry.h"
#include "operators.h"

namespace lqe {
namespace {

struct PoolAttributes {
  int filter_height, filter_width, stride_height, stride_width, padding;
};

class MaxPool : public Operator {
 public:
  MaxPool(std::string what, int input, int output, const PoolAttributes& attributes)
      : Operator(std::move(what)), input_(input), output_(output), attributes_(attributes) {}

 protected:
  int input() const override { return input_; }
  int output() const override { return output_; }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) override {
    TfLiteType from = context->tensors[input_].type, to = context->tensors[output_].type;
    if (from != kTfLiteInt32 || to != kTfLiteInt32)
      return fail(context, what(), "types %s to %s; it takes and gives int32", type_name(from), type_name(to));
    if (input.size() != 4) return fail(context, what(), "its input is %s; it must have 4 dimensions",
                                       shape_text(input).c_str());
    const auto& a = attributes_;
    const auto padding = Padding(a.padding);
    std::string error;
    if (!lqe::lay_out(input[1], a.filter_height, a.stride_height, 1, padding, &rows_, &error) ||
        !lqe::lay_out(input[2], a.filter_width, a.stride_width, 1, padding, &columns_, &error))
      return fail(context, what(), "%s", error.c_str());
    *shape = {input[0], rows_.output, columns_.output, input[3]};
    return kTfLiteOk;
  }

  TfLiteStatus compute(TfLiteContext* context, Threads*) override {
    const TfLiteTensor& from = context->tensors[input_];
    const Shape shape = shape_of(from);
    const int64_t words = shape[3];
    auto* image = static_cast<const uint32_t*>(from.data);
    auto* out = static_cast<uint32_t*>(context->tensors[output_].data);
    for (int n = 0; n < shape[0]; ++n, image += int64_t{rows_.input} * columns_.input * words) {
      for (int row = 0; row < rows_.output; ++row) {
        const Place y = rows_.place(row);
        for (int column = 0; column < columns_.output; ++column, out += words) {
          const Place x = columns_.place(column);
          for (int64_t w = 0; w < words; ++w) out[w] = ~0u;
          for (int ky = y.first; ky < y.last; ++ky) {
            for (int kx = x.first; kx < x.last; ++kx) {
              const uint32_t* pixel = image + (int64_t{y.start + ky} * columns_.input + x.start + kx) * words;
              for (int64_t w = 0; w < words; ++w) out[w] &= pixel[w];
            }
          }
        }
      }
    }
    return kTfLiteOk;
  }

 private:
  int input_, output_;
  PoolAttributes attributes_;
  Axis rows_, columns_;
};

}  // namespace

std::unique_ptr<Operator> make_max_pool(TfLiteContext* context, const TfLiteNode* node, const Options&) {
  std::string what = describe(context, node, "LceBMaxPool2d");
  PoolAttributes a;
  constexpr int kMost = 1 << 20;
  if (!check_tensors(context, node, 1, 1, what) ||
      !read_integer(context, node, what, "filter_height", 1, kMost, &a.filter_height) ||
      !read_integer(context, node, what, "filter_width", 1, kMost, &a.filter_width) ||
      !read_integer(context, node, what, "stride_height", 1, kMost, &a.stride_height) ||
      !read_integer(context, node, what, "stride_width", 1, kMost, &a.stride_width) ||
      !read_integer(context, node, what, "padding", 0, 1, &a.padding))
    return nullptr;
  return std::make_unique<MaxPool>(what, node->inputs->data[0], node->outputs->data[0], a);
}

}  // namespace lqe
