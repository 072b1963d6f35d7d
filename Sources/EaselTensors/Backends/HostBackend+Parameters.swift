import CEaselKernels
import Foundation

extension HostBackend {
  public func update(_ parameters: Tensor, gradients: Tensor, state: [Tensor], _ pass: OptimizerPass) {
    require(state.count == pass.stateCount, "\(state.count) state buffers, \(pass.stateCount) expected")
    require(gradients.count == parameters.count, "\(gradients.count) gradients of \(parameters.count) parameters")
    let kernels = self.kernels.pointee
    var step = easel_step()
    step.learning_rate = pass.learningRate
    step.weight_decay = pass.weightDecay
    step.gradient_scale = pass.gradientScale
    switch pass.method {
    case .sgd(let momentum, let nesterov, let isFirst):
      (step.momentum, step.nesterov, step.first) = (momentum, nesterov, isFirst)
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.sgd(
            $0, count, parameters.floats + first, gradients.floats + first, state.first.map { $0.floats + first })
        }
      }
    case .rmsprop(let alpha, let epsilon, let momentum, let centered):
      (step.alpha, step.epsilon, step.momentum, step.centered) = (alpha, epsilon, momentum, centered)
      let average = centered ? state[1] : nil
      let velocity = momentum == 0 ? nil : state[state.count - 1]
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.rmsprop(
            $0, count, parameters.floats + first, gradients.floats + first, state[0].floats + first,
            average.map { $0.floats + first }, velocity.map { $0.floats + first })
        }
      }
    case .adam(let beta1, let beta2, let epsilon, let number, let decoupled):
      (step.beta1, step.beta2, step.epsilon, step.decoupled) = (beta1, beta2, epsilon, decoupled)
      step.correction1 = Float(1 - pow(Double(beta1), Double(number)))
      step.correction2 = Float(1 - pow(Double(beta2), Double(number)))
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.adam(
            $0, count, parameters.floats + first, gradients.floats + first, state[0].floats + first,
            state[1].floats + first)
        }
      }
    }
    parameters.storage.markModified()
  }

  public func movingAverage(_ parameters: Tensor, into average: Tensor, decay: Float) {
    let kernel = kernels.pointee.moving_average
    forEachElement(of: parameters) { first, count in
      kernel(count, decay, parameters.floats + first, average.floats + first)
    }
    average.storage.markModified()
  }

  public func sumOfSquares(_ x: Tensor) -> Double {
    let kernel = kernels.pointee.sum_of_squares
    let partials = Partials(HostBackend.mostSums)
    let blocks = (x.count + 15) / 16
    threads.split(blocks, grain: elementGrain / 16, most: HostBackend.mostSums) { range, turn in
      let first = range.lowerBound * 16
      partials.sums[turn.part] = kernel(min(range.upperBound * 16, x.count) - first, x.floats + first)
    }
    return partials.sums.reduce(0, +)
  }

  /// One sum per part; each part writes only its own.
  private final class Partials {
    let sums: UnsafeMutableBufferPointer<Double>
    init(_ count: Int) {
      sums = .allocate(capacity: count)
      sums.initialize(repeating: 0)
    }
    deinit { sums.deallocate() }
  }

  public func fillUniform(_ x: Tensor, _ draw: RandomDraw) { fillRandom(x, draw, kernels.pointee.uniform) }
  public func fillNormal(_ x: Tensor, _ draw: RandomDraw) { fillRandom(x, draw, kernels.pointee.normal) }

  private typealias Generator =
    @convention(c) (
      Int, Int, UInt64, UnsafePointer<UInt32>, UnsafeMutablePointer<Float>
    ) -> Void

  private func fillRandom(_ x: Tensor, _ draw: RandomDraw, _ generator: Generator) {
    let (count, size) = samples(x)
    threads.split(count, grain: max(1, 1024 / max(1, size)), isAbandonable: false) { range, _ in
      for n in range {
        var counter = draw.counter(sample: n)
        generator(0, size, draw.seed, &counter, x.floats + n * size)
      }
    }
  }
}

extension RandomDraw {
  /// The three counter words that follow the position: see `SIMD4.sample`.
  func counter(sample: Int) -> [UInt32] {
    let counter = SIMD4<UInt32>.sample(
      position: 0, index: index &+ UInt64(sample), draw: draw, stream: stream.rawValue)
    return [counter.y, counter.z, counter.w]
  }
}
