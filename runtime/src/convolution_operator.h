// A node that is one convolution: an LceBconv2d, one and the LceQuantize after it, or the two of a pruned layer and their
// sum.
#pragma once

#include "binary_layer.h"
#include "convolution.h"

namespace lqe {

class ConvolutionOperator : public Operator {
 public:
  // `output` is the tensor to write: where nodes are fused not that of the layer.
  ConvolutionOperator(const BinaryLayer& layer, int output) : Operator(layer.what), layer_(layer), output_(output) {}

  Convolution convolution;
  PaddingSums padding;
  Output out;

 protected:
  int input() const override { return layer_.input; }
  int output() const override { return output_; }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) override {
    if (lqe::lay_out(context, layer_, input, &rows_, &columns_, shape) != kTfLiteOk) return kTfLiteError;
    if (!padding.empty()) padding.lay_out(rows_, columns_);
    out.lay_out(padding, layer_.weights());
    return kTfLiteOk;
  }

  TfLiteStatus compute(TfLiteContext* context, Threads* threads) override {
    const TfLiteTensor& from = context->tensors[layer_.input];
    out.data = context->tensors[output_].data;
    const Image image = {static_cast<const uint32_t*>(from.data), packed_words(layer_.channels_in), rows_, columns_};
    convolution.run(image, shape_of(from)[0], padding, out, threads, thread_count(context));
    return kTfLiteOk;
  }

 private:
  BinaryLayer layer_;
  int output_;
  Axis rows_, columns_;
};

// Gives the operator the filters of a layer, and its outputs as the file has them; `output` is the layer's tensor.
void set_layer(const BinaryLayer& layer, const TfLiteTensor& output, const Kernel* kernel, ConvolutionOperator* made);

}  // namespace lqe
