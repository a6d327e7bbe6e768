// What a file says of one LceBconv2d: attributes and constants, checked.
#pragma once

#include <string>

#include "geometry.h"
#include "operators.h"
#include "outputs.h"

namespace lqe {

struct BinaryLayer {
  std::string what;  // for errors
  int input, output;
  int stride_height, stride_width, dilation_height, dilation_width, padding, pad_values, channels_in, activation;
  TfLiteType output_type;
  int filters, height, width, words, groups;  // `words` of one tap of one filter
  const uint32_t* rows;                       // the filters
  const float* multiplier;                    // of the file, for float32 and int8 output
  const float* bias;
  const int32_t* thresholds;  // for packed output

  size_t row_words() const { return size_t(height) * size_t(width) * size_t(words); }
  int group_channels() const { return channels_in / groups; }
  // Weights of a filter, K.
  int weights() const { return height * width * group_channels(); }
  bool zero_padding() const { return padding == kSame && pad_values == 0; }
};

// Reads a node. False after an error, which is then reported.
bool read_layer(TfLiteContext* context, const TfLiteNode* node, BinaryLayer* layer);

// The shape of the output and the places of the windows for an input of this shape.
TfLiteStatus lay_out(TfLiteContext* context, const BinaryLayer& layer, const Shape& input, Axis* rows, Axis* columns,
                     Shape* shape);

// [lowest, highest] value that an activation lets through, of K in magnitude at most.
void activation_range(int activation, int weights, int* lowest, int* highest);

}  // namespace lqe
