// Counts the nuclei of images, or of a camera's frames:
//
//   count_nuclei nuclei-fast.nuc image.ppm [MICROMETRES_A_PIXEL]
//   count_nuclei nuclei-fast.nuc --camera 0 [MICROMETRES_A_PIXEL]     (with OpenCV)
#include <nucleiseg/pipeline.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(WITH_OPENCV)
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#endif

namespace {

double scale_of(const nucleiseg::Pipeline& pipeline, const char* micrometres) {
  return micrometres ? pipeline.scale_of(std::atof(micrometres)) : 1.0;
}

struct Picture {
  int64_t height, width, channels;
  std::vector<uint8_t> pixels;
};

#if defined(WITH_OPENCV)

Picture picture_of(const cv::Mat& frame) {
  cv::Mat rgb = frame;
  if (frame.channels() == 3) cv::cvtColor(frame, rgb, cv::COLOR_BGR2RGB);
  rgb = rgb.isContinuous() ? rgb : rgb.clone();
  return {rgb.rows, rgb.cols, rgb.channels(), {rgb.datastart, rgb.dataend}};
}

Picture read(const std::string& path) {
  const cv::Mat image = cv::imread(path, cv::IMREAD_ANYCOLOR);
  if (image.empty()) throw std::runtime_error(path + " is no image");
  return picture_of(image);
}

void count_frames(nucleiseg::Pipeline& pipeline, int camera, double scale) {
  cv::VideoCapture source(camera);
  for (cv::Mat frame; source.read(frame);) {
    const Picture picture = picture_of(frame);
    const auto view =
        nucleiseg::view(picture.pixels.data(), picture.height, picture.width, picture.channels);
    std::printf("%d nuclei\n", pipeline.segment(view, scale).count);
  }
}

#else

// Binary PGM or PPM of 8 bits, without comments.
Picture read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  Picture picture = {};
  int most = 0;
  file >> magic >> picture.width >> picture.height >> most;
  file.get();
  picture.channels = magic == "P5" ? 1 : 3;
  const bool is_known = (magic == "P5" || magic == "P6") && most == 255;
  constexpr int64_t kMostSide = 1 << 15;
  if (!file || !is_known || picture.width < 1 || picture.height < 1 || picture.width > kMostSide ||
      picture.height > kMostSide) {
    throw std::runtime_error(path + " is no PGM or PPM file of 8 bits");
  }
  picture.pixels.resize(static_cast<size_t>(picture.width * picture.height * picture.channels));
  file.read(reinterpret_cast<char*>(picture.pixels.data()),
            static_cast<std::streamsize>(picture.pixels.size()));
  if (!file) throw std::runtime_error(path + " is cut off");
  return picture;
}

void count_frames(nucleiseg::Pipeline&, int, double) {
  throw std::runtime_error("--camera: built without OpenCV");
}

#endif

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: %s MODEL.nuc IMAGE [MICROMETRES_A_PIXEL]\n", arguments[0]);
    return 2;
  }
  try {
    nucleiseg::Pipeline pipeline(arguments[1]);
    if (std::string(arguments[2]) == "--camera") {
      const int camera = count > 3 ? std::atoi(arguments[3]) : 0;
      count_frames(pipeline, camera, scale_of(pipeline, count > 4 ? arguments[4] : nullptr));
      return 0;
    }
    const double scale = scale_of(pipeline, count > 3 ? arguments[3] : nullptr);
    const Picture picture = read(arguments[2]);
    const auto view =
        nucleiseg::view(picture.pixels.data(), picture.height, picture.width, picture.channels);
    std::printf("%d nuclei\n", pipeline.segment(view, scale).count);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
