// The operators of Larq Compute Engine, as nodes of the interpreter.
#pragma once

#include <memory>
#include <string>

#include "options.h"
#include "tensors.h"
#include "threads.h"

namespace lqe {

// One claimed operator. It remembers tensors by their indices in the graph: the inputs of the node that the interpreter
// makes of it are in another order.
class Operator {
 public:
  explicit Operator(std::string what) : what_(std::move(what)) {}
  virtual ~Operator() = default;

  // Checks types and shapes, and gives the output its shape.
  TfLiteStatus prepare(TfLiteContext* context);
  TfLiteStatus invoke(TfLiteContext* context, Threads* threads);

 protected:
  // Index of the tensor from which the output's shape follows, and of the output.
  virtual int input() const = 0;
  virtual int output() const = 0;
  // Whether the output was computed when the graph was read, into memory of the operator's own.
  virtual bool is_unpacked() const { return false; }
  // Checks what can change with the input's shape, and sets `shape` to the output's.
  virtual TfLiteStatus lay_out(TfLiteContext* context, const Shape& input, Shape* shape) = 0;
  // Computes. The output has its shape, and both tensors have their memory.
  virtual TfLiteStatus compute(TfLiteContext* context, Threads* threads) = 0;

  const std::string& what() const { return what_; }

 private:
  TfLiteStatus set_shape(TfLiteContext* context);

  std::string what_;
  Shape input_shape_, output_shape_;
};

// How many threads the interpreter's caller asked for: 1 where it left that open.
int thread_count(const TfLiteContext* context);

// Name of the operator and of its output, for errors.
std::string describe(const TfLiteContext* context, const TfLiteNode* node, const char* name);

// Each reads one node of the file: checks its numbers of tensors, its attributes and its constants. Null after an error,
// which is then reported.
std::unique_ptr<Operator> make_quantize(TfLiteContext*, const TfLiteNode*, const Options&);
std::unique_ptr<Operator> make_dequantize(TfLiteContext*, const TfLiteNode*, const Options&);
std::unique_ptr<Operator> make_max_pool(TfLiteContext*, const TfLiteNode*, const Options&);
std::unique_ptr<Operator> make_convolution(TfLiteContext*, const TfLiteNode*, const Options&);

// Whether the node has `inputs` inputs and one output, all of them tensors of the graph. Reports an error.
bool check_tensors(TfLiteContext* context, const TfLiteNode* node, int inputs, int needed, const std::string& what);

// Reads an attribute that must be in [least, most]. Reports an error.
bool read_integer(TfLiteContext* context, const TfLiteNode* node, const std::string& what, const char* name,
                  int least, int most, int* value);

}  // namespace lqe
