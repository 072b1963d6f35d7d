import EaselSupport

/// All requests. A new request is a file in `Requests/` and a line here; to be available at a terminal it also needs a
/// verb in the program.
public let requestTypes: [any Request.Type] = [
  TrainRequest.self, ResumeRequest.self, SampleRequest.self, InterpolateRequest.self, ReconstructRequest.self,
  DenoiseRequest.self, InpaintRequest.self, TranslateRequest.self, SearchRequest.self, EvaluateRequest.self,
  AttackRequest.self, InspectRequest.self, VerifyRequest.self, ImportRequest.self, ExportRequest.self, RunsRequest.self,
  PlotRequest.self, DataListRequest.self, DataInfoRequest.self, DataGridRequest.self, DataImportRequest.self,
  DataMakeRequest.self, DataPackRequest.self, BenchRequest.self, DoctorRequest.self,
]

extension Model {
  /// The requests that the model can answer.
  public var requests: [any Request.Type] { requestTypes.filter { $0.isOffered(by: self) } }
}

extension LoadedModel {
  /// - Parameter what: what the model cannot do, in words that follow its name.
  func refusal(_ what: String) -> UserError {
    let known = model.requests.map { $0.name }
    return UserError(
      .unavailable, "\(state.preset) \(what)",
      hint: known.isEmpty ? nil : "It can: \(known.joined(separator: ", ")).")
  }
}
