// LceBMaxPool2d: the maximum of +1 and -1 over a window is the AND of its bits; taps outside the image are skipped.
#include <cstring>

#include "geometry.h"
#include "operators.h"

namespace lqe {
namespace {

struct PoolAttributes {
  int filter_height, filter_width, stride_height, stride_width, padding;
};

// Four words at once; both compilers make the processor's own instructions of it.
typedef uint32_t Words __attribute__((vector_size(16)));

template <class Vector>
void put(Vector vector, uint32_t* to) {
  std::memcpy(to, &vector, sizeof vector);
}

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
          const uint32_t* first = image + (int64_t{y.start + y.first} * columns_.input + x.start + x.first) * words;
          int64_t w = 0;
          for (; w + 4 <= words; w += 4) put(window<Words>(first + w, y, x, words), out + w);
          for (; w < words; ++w) put(window<uint32_t>(first + w, y, x, words), out + w);
        }
      }
    }
    return kTfLiteOk;
  }

 private:
  // The AND over the window of as many words as a vector has; `first` is of the first tap inside.
  template <class Vector>
  Vector window(const uint32_t* first, const Place& y, const Place& x, int64_t words) const {
    Vector all = ~Vector{};
    for (int ky = y.first; ky < y.last; ++ky, first += columns_.input * words) {
      const uint32_t* pixel = first;
      for (int kx = x.first; kx < x.last; ++kx, pixel += words) {
        Vector vector;
        std::memcpy(&vector, pixel, sizeof vector);
        all &= vector;
      }
    }
    return all;
  }

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
