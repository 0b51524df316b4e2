// One image's way through the integer network: where its tensors lie, and each layer's rows.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/network/network.h"
#include "cpu/network/network_layer.h"

namespace nucleiseg::cpu {

// Memory for the tensors of an image. A tensor's memory is another's once its last reader is done.
struct Network::Workspace {
  struct Place {
    uint8_t* pixels;  // of row 0, column 0, inside the border
    int64_t row_stride;
    int64_t height, width;
  };

  int64_t height = 0;
  int64_t width = 0;
  std::vector<Place> places;
  std::vector<AlignedBytes> buffers;
  std::vector<AlignedBytes> rooms;  // one a thread, for what strips have between their transforms

  void plan(const Network& network, int64_t rows, int64_t columns);

  void make_room(const Network& network, int threads);
};

class Network::Pass {
 public:
  Pass(const Network& network, const Workspace& space, const uint8_t* image, uint8_t* cells)
      : network_(network), space_(space), image_(image), cells_(cells) {}

  void run(int threads) const;

 private:
  using Place = Workspace::Place;

  int64_t rows(const Layer& layer) const;
  bool in_strips(const Layer& layer) const;
  // What threads share out: rows, or strips of them.
  int64_t pieces(const Layer& layer) const;
  // Into how many parts each row's output channels are shared out.
  int parts(const Layer& layer, int threads) const;
  void work(const Layer& layer, int64_t row, int part, int count, size_t member) const;
  void stem(const Layer& layer, int64_t row) const;
  void copy_of_row(int64_t row, int64_t begin, uint8_t* copy, size_t size) const;
  void convolution(const Layer& layer, int64_t row, int first, int blocks,
                   int64_t column = 0) const;
  void strip(const Layer& layer, int64_t row, int first, int blocks, size_t member) const;
  void grow(const Layer& layer, int64_t row) const;
  void pool(const Layer& layer, int64_t row) const;
  void cells(const Layer& layer, int64_t row) const;
  void border(int tensor, int64_t row) const;
  const Place& place(int tensor) const { return space_.places[static_cast<size_t>(tensor)]; }
  uint8_t* pixels(int tensor, int64_t row) const {
    return place(tensor).pixels + row * place(tensor).row_stride;
  }

  const Network& network_;
  const Workspace& space_;
  const uint8_t* image_;
  uint8_t* cells_;
};

}  // namespace nucleiseg::cpu
