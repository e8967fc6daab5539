// What every kernel needs: arguments that are checked, vectors of the width of the CPU, memory that is used again.
//
// An entry point has the signature that MindSpore's `ops.Custom(func_type="aot")` calls. It returns 0, or 1 after it
// has written to stderr what is wrong, which MindSpore turns into an exception. No result depends on the number of
// threads: each value is summed by one thread in one order.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace uflow {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr float SLOPE = 0.1f;  // of LeakyReLU below zero

// `Vector` lives in a register, `Packed` is the same at any address
template <int N>
struct Of {
  typedef float Vector __attribute__((vector_size(N * 4)));
  typedef float Packed __attribute__((vector_size(N * 4), aligned(4), may_alias));
};
typedef Of<LANES>::Vector Vector;

template <int N = LANES>
inline typename Of<N>::Vector load(const float* at) {
  return *reinterpret_cast<const typename Of<N>::Packed*>(at);
}
template <int N = LANES>
inline void store(float* at, typename Of<N>::Vector value) {
  *reinterpret_cast<typename Of<N>::Packed*>(at) = value;
}

// A float32 tensor of four dimensions
struct Tensor4 {
  float* data;
  int64_t n, c, h, w;
  int64_t plane() const { return h * w; }
  int64_t sample() const { return c * h * w; }
};

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

// The arguments of an entry point: inputs first, then outputs
class Arguments {
 public:
  Arguments(int count, void** data, int* ndims, int64_t** shapes, const char** types)
      : count_(count), data_(data), ndims_(ndims), shapes_(shapes), types_(types) {}

  void expect(int count) const { require(count_ == count, "wrong number of arguments"); }

  Tensor4 tensor(int i) const {
    floats(i);
    require(ndims_[i] == 4, "a tensor must have four dimensions");
    const int64_t* s = shapes_[i];
    require(s[0] > 0 && s[1] > 0 && s[2] > 0 && s[3] > 0, "a tensor must not be empty");
    return {static_cast<float*>(data_[i]), s[0], s[1], s[2], s[3]};
  }

  Tensor4 tensor(int i, int64_t n, int64_t c, int64_t h, int64_t w) const {
    Tensor4 t = tensor(i);
    require(t.n == n && t.c == c && t.h == h && t.w == w, "tensors do not fit together");
    return t;
  }

  float* vector(int i, int64_t length) const {
    floats(i);
    require(ndims_[i] == 1 && shapes_[i][0] == length, "a vector has the wrong length");
    return static_cast<float*>(data_[i]);
  }

  const int32_t* numbers(int i, int64_t length) const {
    require(data_[i] && !strcmp(types_[i], "int32"), "options must be int32");
    require(ndims_[i] == 1 && shapes_[i][0] == length, "wrong number of options");
    return static_cast<const int32_t*>(data_[i]);
  }

 private:
  void floats(int i) const {
    require(i < count_ && data_[i], "an argument is missing");
    require(!strcmp(types_[i], "float32") || !strcmp(types_[i], "float"), "a tensor must be float32");
  }

  int count_;
  void** data_;
  int* ndims_;
  int64_t** shapes_;
  const char** types_;
};

template <class Body>
int guarded(const char* name, Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "uflow kernel %s: %s\n", name, error.what());
    return 1;
  }
}

#define UFLOW_KERNEL(name)                                                                          \
  static void name##_body(const uflow::Arguments& in);                                              \
  extern "C" int name(int count, void** data, int* ndims, int64_t** shapes, const char** types,     \
                      void*, void*) {                                                               \
    return uflow::guarded(#name, [&] { name##_body({count, data, ndims, shapes, types}); });        \
  }                                                                                                 \
  static void name##_body(const uflow::Arguments& in)

// Working memory that outlives a call, as fresh pages cost more than most kernels. There are as many blocks as calls
// were ever under way at once.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    size_t wanted = (static_cast<size_t>(floats) * 4 + 64 + 63) / 64 * 64;  // a vector may read past the end
    {
      std::lock_guard<std::mutex> hold(lock());
      auto& free = blocks();
      size_t best = free.size();
      for (size_t i = 0; i < free.size(); i++)
        if (free[i].size >= wanted && (best == free.size() || free[i].size < free[best].size)) best = i;
      if (best == free.size() && !free.empty()) best = 0;  // none is large enough: replace one
      if (best < free.size()) {
        block_ = free[best];
        free.erase(free.begin() + best);
      }
    }
    if (block_.size < wanted) {
      std::free(block_.data);
      block_.size = wanted;
      block_.data = static_cast<float*>(std::aligned_alloc(64, wanted));
      if (!block_.data) throw std::bad_alloc();
    }
  }
  ~Scratch() {
    std::lock_guard<std::mutex> hold(lock());
    blocks().push_back(block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator float*() { return block_.data; }

 private:
  struct Block {
    float* data = nullptr;
    size_t size = 0;
  };
  static std::mutex& lock() {
    static std::mutex m;
    return m;
  }
  static std::vector<Block>& blocks() {
    static auto* b = new std::vector<Block>();  // never destroyed: threads may outlive static objects
    return *b;
  }
  Block block_;
};

}  // namespace uflow
