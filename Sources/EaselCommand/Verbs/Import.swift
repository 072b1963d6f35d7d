import ArgumentParser
import EaselKit

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: ImportRequest.summary,
    discussion: """
      Takes folders on this machine: pipelines (DDPMPipeline, DDIMPipeline, LDMPipeline, StableDiffusionPipeline) and \
      single models (UNet2DModel, AutoencoderKL, VQModel, CLIPModel, CLIPTextModel), with weights in safetensors or \
      PyTorch's own format. Nothing in them is run. The run has a checkpoint for pictures: every verb that makes pictures \
      takes it, and a training can start from it:

        easel train diffusion --config Checkpoints/NAME/step-00000000/config.yaml --from NAME --data PICTURES

      A model that Easel has no layers for is refused, and the message names the file and the field. easel export --format \
      diffusers is the way back.
      """)

  @Argument(help: .field(\ImportRequest.folder)) var folder: String
  @Option(name: .customLong("run"), help: .field(\ImportRequest.run)) var name: String?
  @Flag(help: .field(\ImportRequest.overwrite)) var overwrite = false
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    let answer = try desk.bench.run(
      ImportRequest { ($0.folder, $0.run, $0.overwrite) = (folder, name, overwrite) })
    if desk.json { return try Console.print(json: answer) }
    Console.note(
      "\(answer.kind): \(answer.family), \(answer.parameters) parameters, "
        + "\(answer.width)×\(answer.height) pixels of \(answer.channels) channel\(answer.channels == 1 ? "" : "s")"
        + (answer.classes == 0 ? "" : ", \(answer.classes) classes"))
    for (name, family) in answer.parts.sorted(by: { $0.key < $1.key }) { Console.note("  \(name): \(family)") }
    Console.note("Next: easel \(next(answer))")
    Console.print(path: answer.checkpoint)
  }

  private func next(_ answer: ImportRequest.Answer) -> String {
    switch answer.kind {
    case "CLIPModel": "search \(answer.run) \"a red circle\" --data PICTURES"
    case "CLIPTextModel": "train diffusion --set captions=true --set text=\(answer.run) --data PICTURES"
    case "AutoencoderKL", "VQModel": "reconstruct \(answer.run) --data PICTURES"
    default: "sample \(answer.run)"
    }
  }
}
