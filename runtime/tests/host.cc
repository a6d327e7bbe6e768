// A small host for the delegate: as much of an interpreter as a delegate sees, with memory of its own for every tensor, so
// that a sanitizer sees a step outside one. It makes graphs with right and with wrong options, shapes, types and sizes.
//
//   host mutate CASES   one graph after the other
//   host threads CASES  graphs on several threads, some of which share a delegate
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tflite_api.h"

extern "C" {
TfLiteDelegate* tflite_plugin_create_delegate(char**, char**, size_t, void (*)(const char*));
void tflite_plugin_destroy_delegate(TfLiteDelegate*);
}

namespace {

using Bytes = std::vector<uint8_t>;
using Random = std::mt19937;

int between(Random& random, int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); }

TfLiteIntArray* int_array(const std::vector<int>& values) {
  auto* array = static_cast<TfLiteIntArray*>(std::malloc(sizeof(int) * (values.size() + 2)));
  array->size = int(values.size());
  for (size_t i = 0; i < values.size(); ++i) array->data[i] = values[i];
  return array;
}

// A FlexBuffers map with 32-bit integers.
Bytes attributes(const std::vector<std::pair<std::string, int>>& map) {
  Bytes bytes;
  auto put = [&](uint32_t value) { for (int i = 0; i < 4; ++i) bytes.push_back(uint8_t(value >> (8 * i))); };
  std::vector<size_t> keys;
  for (auto& entry : map) {
    keys.push_back(bytes.size());
    bytes.insert(bytes.end(), entry.first.c_str(), entry.first.c_str() + entry.first.size() + 1);
  }
  while (bytes.size() % 4) bytes.push_back(0);
  put(uint32_t(map.size()));
  const size_t key_vector = bytes.size();
  for (size_t key : keys) put(uint32_t(bytes.size() - key));
  put(uint32_t(bytes.size() - key_vector));
  put(4);
  put(uint32_t(map.size()));
  const size_t values = bytes.size();
  for (auto& entry : map) put(uint32_t(entry.second));
  for (size_t i = 0; i < map.size(); ++i) bytes.push_back(1 << 2 | 2);
  while (bytes.size() % 4) bytes.push_back(0);
  put(uint32_t(bytes.size() - values));
  bytes.push_back(9 << 2 | 2);
  bytes.push_back(4);
  return bytes;
}

size_t width(TfLiteType type) { return type == kTfLiteFloat32 || type == kTfLiteInt32 ? 4 : 1; }

class Host {
 public:
  Host() {
    context_.impl_ = this;
    context_.GetExecutionPlan = [](TfLiteContext* c, TfLiteIntArray** plan) {
      std::free(of(c)->plan_array_);
      *plan = of(c)->plan_array_ = int_array(of(c)->plan_);
      return kTfLiteOk;
    };
    context_.GetNodeAndRegistration = [](TfLiteContext* c, int index, TfLiteNode** node, TfLiteRegistration** r) {
      *node = &of(c)->nodes_[size_t(index)]->node;
      *r = &of(c)->nodes_[size_t(index)]->registration;
      return kTfLiteOk;
    };
    context_.ReportError = report;
    context_.ResizeTensor = [](TfLiteContext* c, TfLiteTensor* tensor, TfLiteIntArray* dims) {
      std::free(tensor->dims);
      tensor->dims = dims;
      return tensor->allocation_type == kTfLiteDynamic ? of(c)->allocate(tensor) : kTfLiteOk;
    };
    context_.ReplaceNodeSubsetsWithDelegateKernels = [](TfLiteContext* c, TfLiteRegistration registration,
                                                        const TfLiteIntArray* nodes, TfLiteDelegate* delegate) {
      return of(c)->replace(registration, std::vector<int>(nodes->data, nodes->data + nodes->size), delegate);
    };
    context_.PreviewDelegatePartitioning = [](TfLiteContext* c, const TfLiteIntArray* nodes,
                                              TfLiteDelegateParams** parts, int* count) {
      return of(c)->preview(std::vector<int>(nodes->data, nodes->data + nodes->size), parts, count);
    };
  }

  ~Host() {
    for (auto& node : nodes_) {
      if (node->claimed && node->node.user_data != nullptr) node->registration.free(&context_, node->node.user_data);
      std::free(node->node.inputs);
      std::free(node->node.outputs);
    }
    for (TfLiteTensor& tensor : tensors_) std::free(tensor.dims);
    std::free(plan_array_);
    std::free(preview_outputs_);
  }

  int tensor(TfLiteType type, const std::vector<int>& shape, bool constant, Random& random) {
    TfLiteTensor made = {};
    made.type = type;
    made.dims = int_array(shape);
    made.name = "t";
    made.params = {0.5f, 3};
    made.allocation_type = constant ? kTfLiteMmapRo : TfLiteAllocationType(2);
    tensors_.push_back(made);
    if (constant) {
      allocate(&tensors_.back());
      for (uint8_t& byte : memory_.back()) byte = uint8_t(random());
    }
    return int(tensors_.size()) - 1;
  }

  void node(const char* name, const std::vector<int>& inputs, const std::vector<int>& outputs, Bytes options) {
    auto made = std::make_unique<Node>();
    made->options = std::move(options);
    made->node.inputs = int_array(inputs);
    made->node.outputs = int_array(outputs);
    made->registration.custom_name = name;
    made->node.custom_initial_data = made->options.data();
    made->node.custom_initial_data_size = int(made->options.size());
    if (name == nullptr) {
      made->registration.builtin_code = kTfLiteBuiltinAdd;
      made->node.builtin_data = &made->activation;
    }
    plan_.push_back(int(nodes_.size()));
    nodes_.push_back(std::move(made));
  }

  TfLiteTensor& at(int index) { return tensors_[size_t(index)]; }

  // As an interpreter does: claim, prepare, allocate, run twice. False where the delegate refused.
  bool run(TfLiteDelegate* delegate, int threads, const std::vector<int>& graph_outputs, bool shrink, Random& random) {
    graph_outputs_ = graph_outputs;
    context_.tensors = tensors_.data();
    context_.tensors_size = tensors_.size();
    context_.recommended_num_threads = threads;
    if (delegate->Prepare(&context_, delegate) != kTfLiteOk) return false;
    for (int index : plan_)
      if (nodes_[size_t(index)]->claimed &&
          nodes_[size_t(index)]->registration.prepare(&context_, &nodes_[size_t(index)]->node) != kTfLiteOk)
        return false;
    for (TfLiteTensor& tensor : tensors_)
      if (tensor.allocation_type == TfLiteAllocationType(2) && allocate(&tensor) != kTfLiteOk) return false;
    if (shrink) {
      TfLiteTensor& tensor = tensors_[size_t(between(random, 0, int(tensors_.size()) - 1))];
      if (tensor.allocation_type == TfLiteAllocationType(2)) give(&tensor, tensor.bytes / 2);
    }
    for (int run = 0; run < 2; ++run)
      for (int index : plan_)
        if (nodes_[size_t(index)]->claimed &&
            nodes_[size_t(index)]->registration.invoke(&context_, &nodes_[size_t(index)]->node) != kTfLiteOk)
          return false;
    return true;
  }

  std::string error;

 private:
  struct Node {
    TfLiteNode node = {};
    TfLiteRegistration registration = {};
    TfLiteDelegateParams params = {};
    Bytes options;
    int activation = 1;
    bool claimed = false;
  };

  static Host* of(TfLiteContext* context) { return static_cast<Host*>(context->impl_); }

  static void report(TfLiteContext* context, const char* format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    of(context)->error = line;
  }

  TfLiteStatus allocate(TfLiteTensor* tensor) {
    size_t count = 1;
    for (int i = 0; i < tensor->dims->size; ++i) {
      if (tensor->dims->data[i] < 0) return kTfLiteError;
      count *= size_t(tensor->dims->data[i]);
      if (count > 1 << 20) return kTfLiteError;
    }
    give(tensor, count * width(tensor->type));
    return kTfLiteOk;
  }

  void give(TfLiteTensor* tensor, size_t bytes) {
    memory_.emplace_back(bytes);
    tensor->data = memory_.back().data();
    tensor->bytes = bytes;
  }

  TfLiteStatus replace(const TfLiteRegistration& registration, const std::vector<int>& nodes, TfLiteDelegate* delegate) {
    auto made = std::make_unique<Node>();
    made->registration = registration;
    made->claimed = true;
    made->params.delegate = delegate;
    made->node.user_data = registration.init(&context_, reinterpret_cast<const char*>(&made->params), 0);
    std::vector<int> plan;
    for (int index : plan_) {
      if (index == nodes.back()) plan.push_back(int(nodes_.size()));
      bool replaced = false;
      for (int node : nodes) replaced |= node == index;
      if (!replaced) plan.push_back(index);
    }
    plan_ = plan;
    nodes_.push_back(std::move(made));
    return kTfLiteOk;
  }

  TfLiteStatus preview(const std::vector<int>& nodes, TfLiteDelegateParams** parts, int* count) {
    std::vector<int> outputs = {nodes_[size_t(nodes.back())]->node.outputs->data[0]};
    for (int index : nodes)
      for (int output : graph_outputs_)
        if (nodes_[size_t(index)]->node.outputs->data[0] == output && output != outputs[0]) outputs.push_back(output);
    std::free(preview_outputs_);
    preview_.output_tensors = preview_outputs_ = int_array(outputs);
    *parts = &preview_;
    *count = 1;
    return kTfLiteOk;
  }

  TfLiteContext context_ = {};
  std::vector<TfLiteTensor> tensors_;
  std::list<Bytes> memory_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<int> plan_, graph_outputs_;
  TfLiteIntArray* plan_array_ = nullptr;
  TfLiteDelegateParams preview_ = {};
  TfLiteIntArray* preview_outputs_ = nullptr;
};

// Numbers of a graph, any of which a mutation may change.
class Numbers {
 public:
  Numbers(Random& random, int mutations) : random_(random), mutations_(mutations) {}

  int operator()(int value) {
    static const int kStrange[] = {0, -1, 1, 2, 3, 31, 33, 255, 65536, 1 << 20, 1 << 28, 0x7fffffff, -0x7fffffff};
    if (mutations_ == 0 || between(random_, 0, 24) != 0) return value;
    --mutations_;
    return between(random_, 0, 1) ? kStrange[between(random_, 0, 12)] : value + between(random_, -2, 2);
  }
  int operator()(int least, int most) { return (*this)(between(random_, least, most)); }

  TfLiteType type(TfLiteType type) {
    static const TfLiteType kTypes[] = {kTfLiteFloat32, kTfLiteInt32, kTfLiteBool, kTfLiteInt8, TfLiteType(4)};
    if (mutations_ == 0 || between(random_, 0, 24) != 0) return type;
    --mutations_;
    return kTypes[between(random_, 0, 4)];
  }

  Bytes octets(Bytes bytes) {
    if (mutations_ == 0 || between(random_, 0, 2) != 0) return bytes;
    --mutations_;
    if (between(random_, 0, 3) == 0) bytes.resize(size_t(between(random_, 0, int(bytes.size()))));
    for (int i = between(random_, 0, 4); i > 0 && !bytes.empty(); --i)
      bytes[size_t(between(random_, 0, int(bytes.size()) - 1))] = between(random_, 0, 1) ? uint8_t(random_()) : 0xff;
    bytes.shrink_to_fit();
    return bytes;
  }

 private:
  Random& random_;
  int mutations_;
};

std::vector<int> positive(std::vector<int> shape) {
  int64_t count = 1;
  for (int& size : shape) {
    if (size < 0) size = 0;
    if ((count *= size) > 1 << 18) size = 1, count = 1;
  }
  return shape;
}

bool one_graph(TfLiteDelegate* delegate, Random& random, bool mutate, int threads) {
  Numbers number(random, mutate ? between(random, 1, 3) : 0);
  Host host;
  const int channels = between(random, 1, 100), words = (channels + 31) / 32, height = between(random, 1, 9);
  const int width = between(random, 1, 9), batch = between(random, 1, 2);
  const int packed = host.tensor(number.type(kTfLiteInt32), {number(batch), number(height), number(width), number(words)},
                                 false, random);
  int last = packed;
  const int kind = between(random, 0, 4);
  auto real = [&](std::vector<int> shape, TfLiteType type, bool constant) {
    return host.tensor(number.type(type), constant ? positive(shape) : shape, constant, random);
  };
  if (kind == 0) {
    static const TfLiteType kFrom[] = {kTfLiteFloat32, kTfLiteInt8, kTfLiteBool};
    last = host.tensor(number.type(kFrom[between(random, 0, 2)]), {number(batch), number(height), number(channels)}, false, random);
    const int out = real({1}, kTfLiteInt32, false);
    host.node("LceQuantize", {number(last)}, {out}, {});
    last = out;
  } else if (kind == 1) {
    static const TfLiteType kTo[] = {kTfLiteFloat32, kTfLiteInt8, kTfLiteBool};
    const bool constant = between(random, 0, 1);
    const int from = real({number(height), number(words)}, kTfLiteInt32, constant);
    last = real({number(height), number(channels)}, kTo[between(random, 0, 2)], false);
    host.node("LceDequantize", {number(from)}, {number(last)}, {});
  } else if (kind == 2) {
    last = real({1}, kTfLiteInt32, false);
    host.node("LceBMaxPool2d", {packed}, {last},
              number.octets(attributes({{"filter_height", number(1, 3)}, {"filter_width", number(1, 3)},
                                        {"padding", number(0, 1)}, {"stride_height", number(1, 2)},
                                        {"stride_width", number(1, 2)}})));
  } else {
    const int outs = between(random, 1, 70), window = between(random, 1, 3), type = between(random, 0, 2);
    const int padding = number(0, 1), pad_values = number(0, 1), stride = number(1, 2), dilation = number(1, 2);
    const int m = real({number(outs)}, kTfLiteFloat32, true), b = real({number(outs)}, kTfLiteFloat32, true);
    const int t = real({number(outs)}, kTfLiteInt32, true);
    std::vector<int> halves;
    for (int half = 0; half < (kind == 4 ? 2 : 1); ++half) {
      const int filters = real({number(outs), number(window), number(window), number(words)}, kTfLiteInt32, true);
      const TfLiteType to = kind == 4 || type == 0 ? kTfLiteFloat32 : type == 1 ? kTfLiteInt8 : kTfLiteInt32;
      last = real({1}, to, false);
      halves.push_back(last);
      host.node("LceBconv2d", {number(packed), number(filters), number(m), number(b), number(to == kTfLiteInt32 ? t : -1)},
                {last},
                number.octets(attributes({{"channels_in", number(channels)}, {"dilation_height_factor", dilation},
                                          {"dilation_width_factor", dilation},
                                          {"fused_activation_function", number(kind == 4 ? 0 : between(random, 0, 3))},
                                          {"pad_values", pad_values}, {"padding", padding}, {"stride_height", stride},
                                          {"stride_width", stride}})));
    }
    if (kind == 4) {
      last = real({1}, kTfLiteFloat32, false);
      host.node(nullptr, halves, {last}, {});
    }
  }
  if (mutate && between(random, 0, 9) == 0) host.at(packed).allocation_type = kTfLiteDynamic;
  const bool shrink = mutate && between(random, 0, 9) == 0;
  const bool done = host.run(delegate, threads, {last}, shrink, random);
  if (!done && !mutate && host.error.find("does not fit") == std::string::npos) {
    std::printf("refused a right graph: %s\n", host.error.c_str());
    std::exit(1);
  }
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const int cases = argc > 2 ? std::atoi(argv[2]) : 1000;
  TfLiteDelegate* shared = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);
  if (mode == "mutate") {
    Random random(1);
    int ran = 0, refused = 0;
    for (int i = 0; i < cases; ++i) ++(one_graph(shared, random, i % 4 != 0, between(random, -1, 3)) ? ran : refused);
    std::printf("%d ran, %d refused\n", ran, refused);
  } else if (mode == "threads") {
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([=] {
        Random random(static_cast<unsigned>(caller));
        for (int i = 0; i < cases; ++i) {
          TfLiteDelegate* own = caller % 2 ? tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr) : nullptr;
          one_graph(own == nullptr ? shared : own, random, false, 3);
          tflite_plugin_destroy_delegate(own);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    std::printf("4 callers, %d graphs each\n", cases);
  } else {
    std::fprintf(stderr, "usage: host mutate|threads CASES\n");
    return 2;
  }
  tflite_plugin_destroy_delegate(shared);
  return 0;
}
