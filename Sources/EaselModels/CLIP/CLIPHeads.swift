import EaselLayers
import Foundation

/// What takes the features of CLIP's two networks to one space, and the scale of its scores; transformers' `CLIPModel`.
///
/// Parameters: `visual_projection.weight` `[E, image width]`, `text_projection.weight` `[E, text width]`, `logit_scale`
/// `[]`, the logarithm of what the cosine of two vectors is multiplied by.
public struct CLIPHeads {
  /// Scores are multiplied by at most 100, as in OpenAI's training.
  public static let largestLogitScale = log(Float(100))

  public let logitScale: Parameter
  private let images, texts: Linear

  /// Layers for features of two widths; the scale begins at 1 / 0.07.
  ///
  /// - Parameters:
  ///   - imageWidth: the length of an image's features.
  ///   - textWidth: the length of a text's features.
  ///   - width: E, the length of a vector of the space.
  ///   - scope: the position of the three parameters in the tree of names.
  public init(imageWidth: Int, textWidth: Int, width: Int, _ scope: Scope) {
    func projection(_ inputs: Int, _ name: String) -> Linear {
      Linear(inputs, width, bias: false, initializer: .normal(deviation: 1 / Float(inputs).squareRoot()), scope[name])
    }
    images = projection(imageWidth, "visual_projection")
    texts = projection(textWidth, "text_projection")
    logitScale = scope.parameter("logit_scale", [], .constant(log(1 / 0.07)))
  }

  /// Unit vectors of images: features `[N, image width]` to float32 `[N, E]`.
  public func embed(images features: Variable) -> Variable { unitRows(images(features.cast(to: .float32))) }

  /// Unit vectors of texts: features `[N, text width]` to float32 `[N, E]`.
  public func embed(texts features: Variable) -> Variable { unitRows(texts(features.cast(to: .float32))) }
}
