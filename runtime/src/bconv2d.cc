// LceBconv2d: a binary convolution.
#include "convolution_operator.h"

namespace lqe {
namespace {

void set_values(const BinaryLayer& layer, const TfLiteTensor& tensor, Output* out) {
  const int weights = layer.weights();
  if (layer.activation != 0) {
    int lowest, highest;
    activation_range(layer.activation, weights, &lowest, &highest);
    out->low = weights - highest;
    out->high = weights - lowest;
  }
  const bool int8 = layer.output_type == kTfLiteInt8;
  out->type = int8 ? OutputType::kInt8 : OutputType::kFloat;
  const double scale = int8 ? double(tensor.params.scale) : 1.0;
  const double zero_point = int8 ? double(tensor.params.zero_point) : 0.0;
  for (int o = 0; o < layer.filters; ++o) {
    const double m = layer.multiplier[o], b = layer.bias[o];
    out->multiplier.push_back(float(-m / scale));
    out->bias.push_back(float((b + weights * m) / scale + zero_point));
    // Where LCE's fast kernels answer, its order of operations gives its bits.
    if (layer.zero_padding() && !int8 && layer.activation == 0) out->padding_multiplier.push_back(float(-m));
  }
}

}  // namespace

void set_layer(const BinaryLayer& layer, const TfLiteTensor& output, const Kernel* kernel, ConvolutionOperator* made) {
  made->convolution.set_filters(kernel, layer.rows, nullptr, layer.filters, layer.groups, layer.row_words());
  if (layer.zero_padding())
    made->padding.set({layer.rows}, layer.filters, layer.height, layer.width, layer.words, layer.group_channels());
  made->out.channels = layer.filters;
  if (layer.thresholds != nullptr) {
    made->out.type = OutputType::kBits;
    made->out.thresholds = layer.thresholds;
  } else {
    set_values(layer, output, &made->out);
  }
}

std::unique_ptr<Operator> make_convolution(TfLiteContext* context, const TfLiteNode* node, const Options& options) {
  BinaryLayer layer;
  if (!read_layer(context, node, &layer)) return nullptr;
  auto made = std::make_unique<ConvolutionOperator>(layer, layer.output);
  set_layer(layer, context->tensors[layer.output], options.kernel, made.get());
  return made;
}

}  // namespace lqe
