// LceBconv2d: a binary convolution.
#include "binary_layer.h"
#include "convolution.h"

namespace lqe {
namespace {

class BinaryConvolution : public Operator {
 public:
  BinaryConvolution(const BinaryLayer& layer, const Kernel* kernel) : Operator(layer.what), layer_(layer) {
    convolution_.set_filters(kernel, layer.rows, nullptr, layer.filters, layer.groups, layer.row_words());
    if (layer.zero_padding())
      padding_.set(layer.rows, layer.filters, layer.height, layer.width, layer.words, layer.group_channels());
  }

  void set_output(const TfLiteTensor& tensor) {
    const BinaryLayer& layer = layer_;
    const int weights = layer.weights();
    out_.channels = layer.filters;
    if (layer.thresholds != nullptr) {
      out_.type = OutputType::kBits;
      out_.thresholds = layer.thresholds;
      return;
    }
    out_.type = layer.output_type == kTfLiteInt8 ? OutputType::kInt8 : OutputType::kFloat;
    int lowest, highest;
    activation_range(layer.activation, weights, &lowest, &highest);
    if (layer.activation != 0) {
      out_.low = weights - highest;
      out_.high = weights - lowest;
    }
    const bool int8 = out_.type == OutputType::kInt8;
    const double scale = int8 ? double(tensor.params.scale) : 1.0;
    const double zero_point = int8 ? double(tensor.params.zero_point) : 0.0;
    for (int o = 0; o < layer.filters; ++o) {
      const double m = layer.multiplier[o], b = layer.bias[o];
      out_.multiplier.push_back(float(-m / scale));
      out_.bias.push_back(float((b + weights * m) / scale + zero_point));
      // Where LCE's fast kernels answer, its order of operations gives its bits.
      if (layer.zero_padding() && !int8 && layer.activation == 0) out_.padding_multiplier.push_back(float(-m));
    }
  }

 protected:
  int input() const override { return layer_.input; }
  int output() const override { return layer_.output; }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) override {
    return lqe::lay_out(context, layer_, input, &rows_, &columns_, shape);
  }

  TfLiteStatus compute(TfLiteContext* context, Threads* threads) override {
    const TfLiteTensor& from = context->tensors[layer_.input];
    out_.data = context->tensors[layer_.output].data;
    const Image image = {static_cast<const uint32_t*>(from.data), packed_words(layer_.channels_in), rows_, columns_};
    convolution_.run(image, shape_of(from)[0], padding_, out_, threads, context->recommended_num_threads);
    return kTfLiteOk;
  }

 private:
  BinaryLayer layer_;
  Convolution convolution_;
  PaddingSums padding_;
  Output out_;
  Axis rows_, columns_;
};

}  // namespace

std::unique_ptr<Operator> make_convolution(TfLiteContext* context, const TfLiteNode* node, const Options& options) {
  BinaryLayer layer;
  if (!read_layer(context, node, &layer)) return nullptr;
  auto made = std::make_unique<BinaryConvolution>(layer, options.kernel);
  made->set_output(context->tensors[layer.output]);
  return made;
}

}  // namespace lqe
