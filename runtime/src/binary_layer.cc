#include "binary_layer.h"

#include <algorithm>

namespace lqe {
namespace {

bool read_attributes(TfLiteContext* context, const TfLiteNode* node, BinaryLayer* layer) {
  constexpr int kMost = 1 << 20;
  auto read = [&](const char* name, int least, int most, int* value) {
    return read_integer(context, node, layer->what, name, least, most, value);
  };
  return read("stride_height", 1, kMost, &layer->stride_height) &&
         read("stride_width", 1, kMost, &layer->stride_width) &&
         read("dilation_height_factor", 1, kMost, &layer->dilation_height) &&
         read("dilation_width_factor", 1, kMost, &layer->dilation_width) && read("padding", 0, 1, &layer->padding) &&
         read("pad_values", 0, 1, &layer->pad_values) && read("channels_in", 1, 1 << 24, &layer->channels_in) &&
         read("fused_activation_function", 0, 3, &layer->activation);
}

bool read_filters(TfLiteContext* context, const TfLiteTensor& tensor, BinaryLayer* layer) {
  const Shape shape = shape_of(tensor);
  const int64_t words = elements(shape);
  if (tensor.type != kTfLiteInt32 || shape.size() != 4 || words <= 0 || !is_constant(tensor) || !holds(tensor, shape)) {
    fail(context, layer->what, "its filters are %s%s of shape %s; they must be constant int32 of 4 dimensions",
         is_constant(tensor) ? "" : "variable ", type_name(tensor.type), shape_text(shape).c_str());
    return false;
  }
  layer->rows = static_cast<const uint32_t*>(tensor.data);
  layer->filters = shape[0];
  layer->height = shape[1];
  layer->width = shape[2];
  layer->words = shape[3];
  const int input_words = packed_words(layer->channels_in);
  layer->groups = input_words % layer->words == 0 ? input_words / layer->words : 0;
  const int groups = layer->groups;
  if (groups < 1 || layer->filters % groups || (groups > 1 && layer->channels_in % (groups * kWordBits))) {
    fail(context, layer->what, "filters of shape %s do not fit %d channels: a group of channels must be a multiple of 32, "
         "and the number of filters one of the groups", shape_text(shape).c_str(), layer->channels_in);
    return false;
  }
  if (words / layer->filters * kWordBits > 1 << 28) {
    fail(context, layer->what, "filters of shape %s are too large", shape_text(shape).c_str());
    return false;
  }
  return true;
}

// One value for each filter, or null (after an error) where the tensor has not that.
const void* read_values(TfLiteContext* context, const TfLiteNode* node, int input, TfLiteType type, const char* name,
                        const BinaryLayer& layer) {
  const int index = node->inputs->data[input];
  if (index == -1) {
    fail(context, layer.what, "its input %d (%s) is missing; output %s needs it", input, name,
         type_name(layer.output_type));
    return nullptr;
  }
  const TfLiteTensor& tensor = context->tensors[index];
  const Shape shape = shape_of(tensor);
  if (tensor.type == type && is_constant(tensor) && shape == Shape{layer.filters} && holds(tensor, shape)) return tensor.data;
  fail(context, layer.what, "its input %d (%s) is %s%s of shape %s; it must be constant %s of shape (%d)", input, name,
       is_constant(tensor) ? "" : "variable ", type_name(tensor.type), shape_text(shape).c_str(), type_name(type),
       layer.filters);
  return nullptr;
}

}  // namespace

bool read_layer(TfLiteContext* context, const TfLiteNode* node, BinaryLayer* layer) {
  layer->what = describe(context, node, "LceBconv2d");
  if (!check_tensors(context, node, 5, 2, layer->what) || !read_attributes(context, node, layer)) return false;
  layer->input = node->inputs->data[0];
  layer->output = node->outputs->data[0];
  const TfLiteTensor &input = context->tensors[layer->input], &output = context->tensors[layer->output];
  layer->output_type = output.type;
  if (input.type != kTfLiteInt32) {
    fail(context, layer->what, "its input is %s; it must be int32 (packed bits)", type_name(input.type));
    return false;
  }
  if (!read_filters(context, context->tensors[node->inputs->data[1]], layer)) return false;
  layer->multiplier = layer->bias = nullptr;
  layer->thresholds = nullptr;
  if (output.type == kTfLiteInt32) {
    layer->thresholds = static_cast<const int32_t*>(read_values(context, node, 4, kTfLiteInt32, "thresholds", *layer));
    return layer->thresholds != nullptr;
  }
  if (output.type != kTfLiteFloat32 && output.type != kTfLiteInt8) {
    fail(context, layer->what, "its output is %s; it must be float32, int8 or int32", type_name(output.type));
    return false;
  }
  layer->multiplier =
      static_cast<const float*>(read_values(context, node, 2, kTfLiteFloat32, "post_activation_multiplier", *layer));
  if (layer->multiplier == nullptr) return false;
  layer->bias = static_cast<const float*>(read_values(context, node, 3, kTfLiteFloat32, "post_activation_bias", *layer));
  return layer->bias != nullptr;
}

TfLiteStatus lay_out(TfLiteContext* context, const BinaryLayer& layer, const Shape& input, Axis* rows, Axis* columns,
                     Shape* shape) {
  const int words = packed_words(layer.channels_in);
  if (input.size() != 4 || input[3] != words)
    return fail(context, layer.what, "its input is %s; it must be (batch, height, width, %d): %d channels",
                shape_text(input).c_str(), words, layer.channels_in);
  std::string error;
  const auto padding = Padding(layer.padding);
  if (!lay_out(input[1], layer.height, layer.stride_height, layer.dilation_height, padding, rows, &error) ||
      !lay_out(input[2], layer.width, layer.stride_width, layer.dilation_width, padding, columns, &error))
    return fail(context, layer.what, "%s", error.c_str());
  if (elements({input[0], rows->output, columns->output}) > 1 << 30)
    return fail(context, layer.what, "its input %s is too large", shape_text(input).c_str());
  const int channels = layer.output_type == kTfLiteInt32 ? packed_words(layer.filters) : layer.filters;
  *shape = {input[0], rows->output, columns->output, channels};
  return kTfLiteOk;
}

void activation_range(int activation, int weights, int* lowest, int* highest) {
  enum { kRelu = 1, kReluMinusOneToOne = 2, kRelu6 = 3 };
  *lowest = activation == kReluMinusOneToOne ? -1 : activation == kRelu || activation == kRelu6 ? 0 : -weights;
  *highest = activation == kReluMinusOneToOne ? 1 : activation == kRelu6 ? std::min(6, weights) : weights;
}

}  // namespace lqe
