import ArgumentParser
import EaselKit

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: ExportRequest.summary,
    discussion: """
      The new folder has the weights that pictures are made from (the moving average where the run keeps one), the \
      settings and the training record. Every verb that makes pictures takes it. Training cannot go on from it, but \
      another run can start from its weights: easel train PRESET --from FOLDER

      --format diffusers writes a folder that diffusers loads (DDPMPipeline, DDIMPipeline, LDMPipeline, \
      StableDiffusionPipeline, AutoencoderKL, VQModel) or transformers (CLIPModel, CLIPTextModel), which draw the same \
      pictures from the same noise. Its README.md shows how. What they cannot do is refused with the reason, such as \
      the noise levels of noise-schedule=edm.
      """)

  @Argument(help: .field(\ExportRequest.checkpoint)) var checkpoint: String
  @Option(help: .field(\ExportRequest.output)) var output: String
  @Option(help: .field(\ExportRequest.format)) var format = ExportRequest.Format.easel
  @Option(help: .field(\ExportRequest.type)) var type: ExportRequest.StoredType?
  @Flag(help: .field(\ExportRequest.overwrite)) var overwrite = false
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    let answer = try desk.bench.run(
      ExportRequest {
        ($0.checkpoint, $0.output, $0.format) = (checkpoint, output, format)
        ($0.type, $0.overwrite) = (type, overwrite)
      })
    desk.json ? try Console.print(json: answer) : Console.print(path: answer.output)
  }
}

extension ExportRequest.StoredType: ExpressibleByArgument {}
extension ExportRequest.Format: ExpressibleByArgument {}
