// The most that one thread of this CPU computes: multiply-adds of vectors that never leave the registers.
#include "support.h"

namespace {
constexpr int CHAINS = 12;  // independent sums: more than latency times ports, and with two factors not over 16 registers
}

// Operations that were done, of `rounds` rounds; `sink` keeps the compiler from leaving them out
extern "C" double uflow_peak(int64_t rounds, float factor, float summand, float* sink) {
  using namespace uflow;
  Vector sum[CHAINS], a = Vector{} + factor, b = Vector{} + summand;
  for (int i = 0; i < CHAINS; i++) sum[i] = b * static_cast<float>(i);
  for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
  for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];
  store(sink, sum[0]);
  return 2.0 * LANES * CHAINS * rounds;
}
