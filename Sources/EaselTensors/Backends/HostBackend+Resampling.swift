import CEaselKernels

extension HostBackend {
  private typealias Resampler =
    @convention(c) (
      Int, Int, Int, Int, UnsafeRawPointer, UnsafeMutableRawPointer
    ) -> Void

  /// Applies a kernel to each image; `height` and `width` are the sizes that the kernel receives.
  private func resample(_ x: Tensor, into y: Tensor, height: Int, width: Int, factor: Int, _ kernel: Resampler) {
    let channels = x.shape[3]
    let (xSize, ySize) = (samples(x).size, samples(y).size)
    threads.split(x.shape[0], grain: max(1, elementGrain / max(1, ySize))) { range, _ in
      for n in range { kernel(height, width, channels, factor, x.at(n * xSize), y.at(n * ySize)) }
    }
  }

  public func pad(_ x: Tensor, _ insets: Insets) -> Tensor {
    let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
    let (rows, columns) = (height + insets.top + insets.bottom, width + insets.left + insets.right)
    require(rows > 0 && columns > 0, "\(insets) leaves nothing of \(x.shape)")
    let y = empty([x.shape[0], rows, columns, channels], x.type)
    fill(y, with: 0)
    let kernel = typed(x.type).copy_rows
    // The rows and columns of x that y shows.
    let shownRows = max(0, -insets.top)..<min(height, height + insets.bottom)
    let shownColumns = max(0, -insets.left)..<min(width, width + insets.right)
    threads.split(x.shape[0], grain: max(1, elementGrain / (rows * columns * channels))) { range, _ in
      for n in range {
        let source = ((n * height + shownRows.lowerBound) * width + shownColumns.lowerBound) * channels
        let target =
          ((n * rows + shownRows.lowerBound + insets.top) * columns + shownColumns.lowerBound + insets.left) * channels
        kernel(
          shownRows.count, shownColumns.count * channels, x.at(source), width * channels, y.at(target),
          columns * channels, false)
      }
    }
    return y
  }

  public func reflectionPad(_ x: Tensor, _ insets: Insets) -> Tensor {
    let border = border(height: x.shape[1], width: x.shape[2], channels: x.shape[3], insets)
    let y = empty(
      [x.shape[0], border.top + border.height + border.bottom, border.left + border.width + border.right, x.shape[3]],
      x.type)
    forEachImage(x, y, border, typed(x.type).reflect)
    return y
  }

  public func reflectionPadGradient(_ dy: Tensor, _ insets: Insets) -> Tensor {
    let border = border(
      height: dy.shape[1] - insets.top - insets.bottom, width: dy.shape[2] - insets.left - insets.right,
      channels: dy.shape[3], insets)
    let dx = empty([dy.shape[0], border.height, border.width, border.channels], dy.type)
    forEachImage(dy, dx, border, typed(dy.type).reflect_backward)
    return dx
  }

  private func border(height: Int, width: Int, channels: Int, _ insets: Insets) -> easel_border {
    require(
      (0..<height).contains(insets.top) && (0..<height).contains(insets.bottom)
        && (0..<width).contains(insets.left) && (0..<width).contains(insets.right),
      "images of \(height)×\(width) have no mirror images for \(insets)")
    return easel_border(
      height: height, width: width, channels: channels, top: insets.top, left: insets.left, bottom: insets.bottom,
      right: insets.right)
  }

  private func forEachImage(
    _ x: Tensor, _ y: Tensor, _ border: easel_border,
    _ kernel: @convention(c) (UnsafePointer<easel_border>, UnsafeRawPointer, UnsafeMutableRawPointer) -> Void
  ) {
    let (xSize, ySize) = (samples(x).size, samples(y).size)
    threads.split(x.shape[0], grain: max(1, elementGrain / max(1, ySize))) { range, _ in
      withUnsafePointer(to: border) { border in
        for n in range { kernel(border, x.at(n * xSize), y.at(n * ySize)) }
      }
    }
  }

  public func upsampleNearest(_ x: Tensor, factor: Int) -> Tensor {
    let y = empty([x.shape[0], x.shape[1] * factor, x.shape[2] * factor, x.shape[3]], x.type)
    resample(x, into: y, height: x.shape[1], width: x.shape[2], factor: factor, typed(x.type).upsample)
    return y
  }

  public func upsampleNearestGradient(_ dy: Tensor, factor: Int) -> Tensor {
    let dx = empty([dy.shape[0], dy.shape[1] / factor, dy.shape[2] / factor, dy.shape[3]], dy.type)
    resample(dy, into: dx, height: dx.shape[1], width: dx.shape[2], factor: factor, typed(dy.type).upsample_backward)
    return dx
  }

  public func averagePool(_ x: Tensor, factor: Int) -> Tensor {
    let y = empty([x.shape[0], x.shape[1] / factor, x.shape[2] / factor, x.shape[3]], x.type)
    resample(x, into: y, height: x.shape[1], width: x.shape[2], factor: factor, typed(x.type).average_pool)
    return y
  }

  public func averagePoolGradient(_ dy: Tensor, inputShape: Shape, factor: Int) -> Tensor {
    let dx = empty(inputShape, dy.type)
    resample(
      dy, into: dx, height: inputShape[1], width: inputShape[2], factor: factor, typed(dy.type).average_pool_backward)
    return dx
  }
}
