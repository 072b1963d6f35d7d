import EaselLayers
import Foundation

/// CLIP's loss (Radford et al. 2021): each image of a batch should be nearest to its text, and each text to its image,
/// among those of the whole batch.
///
/// The mean of two cross-entropies, over the images' and over the texts' rows of scores. Pairs whose captions are equal
/// are not told apart: the scores of an image with the captions of such others are left out, as if they were not in the
/// batch, and likewise for a text. The loss of a perfect model is then 0 whether captions repeat or not.
public struct ContrastiveLoss {
  /// Float32 `[]`, in nats.
  public let loss: Variable
  /// The share of images that are nearest to their text, and of texts that are nearest to their image.
  public let imageAccuracy, textAccuracy: Float

  /// - Parameters:
  ///   - images: unit vectors, float32 `[N, E]`.
  ///   - texts: unit vectors of their texts, float32 `[N, E]`.
  ///   - captions: the N texts; equal ones are one text. Nil if all differ.
  ///   - logitScale: the logarithm of what scores are multiplied by, float32 of one element.
  public init(images: Variable, texts: Variable, captions: [String]? = nil, logitScale: Variable) {
    let scale = elementwise(logitScale) { (Foundation.exp($0), Foundation.exp($0)) }
    let count = images.shape[0]
    let hidden = captions.map { ContrastiveLoss.hidden($0, on: images.backend) }
    var identity = [Float](repeating: 0, count: count * count)
    for n in 0..<count { identity[n * count + n] = 1 }
    let target = Tensor(identity, shape: [count, count], on: images.backend)

    func side(_ rows: Variable, _ columns: Variable) -> (loss: Variable, accuracy: Float) {
      var scores = scaled(linear(rows, weight: columns), by: scale)
      if let hidden { scores = scores + Variable(hidden, on: scores.tape) }
      let right = scores.value.argmax().enumerated().filter { $0.offset == $0.element }.count
      return (crossEntropy(scores, target), Float(right) / Float(count))
    }
    let (ofImages, ofTexts) = (side(images, texts), side(texts, images))
    loss = 0.5 * (ofImages.loss + ofTexts.loss)
    (imageAccuracy, textAccuracy) = (ofImages.accuracy, ofTexts.accuracy)
  }

  /// Added to scores, `[N, N]`: so low that nothing remains of those of other pairs with the same caption.
  private static func hidden(_ captions: [String], on backend: any Backend) -> Tensor {
    var values = [Float](repeating: 0, count: captions.count * captions.count)
    let places = Dictionary(grouping: captions.indices) { captions[$0] }
    for same in places.values where same.count > 1 {
      for a in same { for b in same where a != b { values[a * captions.count + b] = -1e9 } }
    }
    return Tensor(values, shape: [captions.count, captions.count], on: backend)
  }
}
